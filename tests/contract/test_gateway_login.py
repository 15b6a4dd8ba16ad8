"""Login by name and password: who gets a token, how long it is good, and what those learn who guess."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.gateway.context import CONTEXT, Context
from services.gateway.http.patience import FREE
from services.gateway.operations import logins
from shared.control.objects import password_key
from tests.contract.closed_world import Closed, closed_at
from tests.contract.gateway_world import world_at

LIST = "/api/v1/executions"
LOGIN = "/api/v1/login"
RIGHT, OTHER = "correct horse battery", "staple staple staple"


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with closed_at(tmp_path, password_login=True) as closed:
        yield closed


def context_of(closed: Closed) -> Context:
    assert closed.world.gateway._runner is not None
    return closed.world.gateway._runner.app[CONTEXT]


async def said(sent: Any) -> tuple[int, str]:
    answer: httpx.Response = await sent
    return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""


async def set_password(closed: Closed, who: str, owner: str, **body: Any) -> tuple[int, str]:
    async with closed.asking(who) as client:
        return await said(client.put(f"/api/v1/principals/{owner}/password", json=body))


async def log_in(closed: Closed, name: str, password: str, **more: Any) -> httpx.Response:
    async with closed.asking(None) as client:
        return await client.post(LOGIN, json={"name": name, "password": password, **more})


async def logged_in(closed: Closed, name: str, password: str, **more: Any) -> str:
    """The name under which the token is known from now on."""
    answer = await log_in(closed, name, password, **more)
    assert answer.status_code == 200, answer.text
    closed.people.tokens[answer.json()["token_id"]] = answer.json()["token"]
    return str(answer.json()["token_id"])


async def test_the_right_password_gets_a_token_of_the_usual_kind(closed: Closed) -> None:
    assert await set_password(closed, "root", "mia", password=RIGHT) == (200, "")
    # When Mia logs in
    token = await logged_in(closed, "mia", RIGHT)
    # Then she may what she may, it is listed, and it can be revoked
    async with closed.asking(token) as client:
        listed = (await client.get("/api/v1/tokens")).json()[0]
        await client.delete(f"/api/v1/tokens/{token}")
    assert (listed["token_id"], listed["name"], listed["rights"]) == (token, "login", None)
    assert await closed.status(token) == 401


async def test_what_was_logged_in_with_the_old_password_is_not_any_more(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    token = await logged_in(closed, "mia", RIGHT)
    async with closed.asking(token) as client:
        made = (await client.post("/api/v1/tokens", json={})).json()
        closed.people.tokens["made"] = made["token"]
    before = [await closed.status(one) for one in (token, "made", "mia")]
    assert await set_password(closed, token, "mia", password=OTHER, old_password=RIGHT) == (200, "")
    after = [await closed.status(one) for one in (token, "made", "mia")]
    assert (before, after) == ([200, 200, 200], [401, 401, 200])
    assert (await log_in(closed, "mia", RIGHT)).status_code == 401


async def to_the_end(answer: httpx.Response) -> None:
    async with asyncio.timeout(30):
        async for _ in answer.aiter_raw():
            pass


async def test_an_open_answer_ends_with_the_password(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    token = await logged_in(closed, "mia", RIGHT)
    async with closed.asking(token) as client, client.stream("GET", "/api/v1/events") as news:
        assert news.status_code == 200
        await set_password(closed, "root", "mia", password=OTHER)
        with pytest.raises(httpx.HTTPError):
            await to_the_end(news)


async def test_a_password_for_one_time_is_good_for_nothing_but_another_one(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT, one_time=True)
    answer = await log_in(closed, "mia", RIGHT)
    assert (answer.status_code, answer.json()["code"]) == (403, "password_must_change")
    answer = await log_in(closed, "mia", RIGHT, new_password=RIGHT)
    assert (answer.status_code, answer.json()["code"]) == (409, "password_unchanged")
    await logged_in(closed, "mia", RIGHT, new_password=OTHER)
    assert await closed.status(await logged_in(closed, "mia", OTHER)) == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("mia", OTHER),
        ("max", RIGHT),
        ("nobody", RIGHT),
        ("../admins", RIGHT),
        ("MIA", RIGHT),
        ("", ""),
        ("gone", RIGHT),
    ],
    ids=["wrong", "none so far", "nobody", "no name", "another spelling", "nothing", "disabled"],
)
async def test_whatever_is_wrong_the_answer_is_the_same(closed: Closed, name: str, password: str) -> None:
    async with closed.asking("root") as root:
        await root.put("/api/v1/principals/gone", json={})
        for one in ("mia", "gone"):
            await set_password(closed, "root", one, password=RIGHT)
        await root.put("/api/v1/principals/gone", json={"disabled": True})
    wrong = await log_in(closed, "mia", "yet another one")
    answer = await log_in(closed, name, password)
    assert (answer.status_code, answer.content) == (401, wrong.content)
    assert answer.headers["WWW-Authenticate"] == wrong.headers["WWW-Authenticate"]


async def test_who_is_attacked_gets_in_after_a_wait(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    for _ in range(FREE + 1):
        assert (await log_in(closed, "mia", OTHER)).status_code == 401
    assert context_of(closed).patience.secs("mia", "elsewhere") > 0
    token = await logged_in(closed, "mia", RIGHT)
    assert (await closed.status(token), context_of(closed).patience.secs("mia", "elsewhere")) == (200, 0.0)


@pytest.mark.parametrize(
    ("who", "owner", "body", "expected"),
    [
        ("mia", "mia", {"password": OTHER}, (403, "old_password_wrong")),
        ("mia", "mia", {"password": OTHER, "old_password": OTHER}, (403, "old_password_wrong")),
        ("mia", "mia", {"password": "short", "old_password": RIGHT}, (422, "password_too_short")),
        ("mia", "max", {"password": OTHER}, (403, "forbidden")),
        ("narrow", "mia", {"password": OTHER, "old_password": RIGHT}, (403, "forbidden")),
        ("root", "nobody", {"password": OTHER}, (404, "principal_not_found")),
        ("max", "max", {"password": OTHER}, (200, "")),
        ("root", "mia", {"password": OTHER}, (200, "")),
    ],
)
async def test_who_may_set_which_password(
    closed: Closed, who: str, owner: str, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    async with closed.asking("mia") as mia:
        closed.people.tokens["narrow"] = (await mia.post("/api/v1/tokens", json={"rights": ["read"]})).json()["token"]
    assert await set_password(closed, who, owner, **body) == expected


async def test_without_a_password_nobody_is_logged_in_any_more(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    token = await logged_in(closed, "mia", RIGHT)
    path = "/api/v1/principals/mia/password"
    async with closed.asking("root") as root, closed.asking("mia") as mia:
        assert await said(mia.delete(path)) == (403, "forbidden")
        assert [await said(root.delete(path)) for _ in range(2)] == [(200, ""), (404, "password_not_found")]
    assert await closed.status(token) == 401


async def test_a_password_is_in_no_log_and_no_object(closed: Closed, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await set_password(closed, "root", "mia", password=RIGHT)
        await logged_in(closed, "mia", RIGHT)
        await log_in(closed, RIGHT, RIGHT)
        async with closed.asking(None) as client:
            odd = await client.post(LOGIN, json={"name": "mia", "password": [RIGHT], RIGHT: 1})
    kept = await closed.world.store.get("control-store", password_key("mia"))
    told = caplog.text + kept.decode()
    assert (RIGHT in told, odd.status_code, "has logged in from 127.0.0.1" in caplog.text) == (False, 422, True)


async def test_the_oldest_logins_end_where_they_are_too_many(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST_LOGINS", 2)
    await set_password(closed, "root", "mia", password=RIGHT)
    made = [await logged_in(closed, "mia", RIGHT) for _ in range(3)]
    assert [await closed.status(one) for one in made] == [401, 200, 200]


async def test_a_body_of_any_size_is_refused_before_it_is_read(closed: Closed) -> None:
    async with closed.asking(None) as client:
        assert await said(client.post(LOGIN, content=b"x" * 5000)) == (413, "too_large")


async def test_without_the_setting_nobody_is_let_in_by_a_password(tmp_path: Path) -> None:
    async with closed_at(tmp_path) as closed:
        answer = await log_in(closed, "mia", RIGHT)
    assert (answer.status_code, answer.json()["code"]) == (403, "password_login_off")


async def test_an_open_server_asks_nobody(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world, httpx.AsyncClient(base_url=world.gateway.url) as client:
        assert await said(client.post(LOGIN, json={"name": "mia", "password": RIGHT})) == (409, "auth_is_open")


async def test_logins_are_in_the_audit_with_whom_they_were_for(closed: Closed) -> None:
    await set_password(closed, "root", "mia", password=RIGHT)
    await logged_in(closed, "mia", RIGHT)
    await log_in(closed, "mia", OTHER)
    await log_in(closed, "a name, or a password by mistake", OTHER)
    closed.world.gateway._audit.counts.close()
    async with closed.asking("root") as root:
        entries = (await root.get("/api/v1/audit", params={"action": "login"})).json()
    told = {(one["outcome"], one["actor"], one["subject"], one["address"]) for one in entries}
    assert told == {
        ("done", "mia", "mia", "127.0.0.1"),
        ("refused", None, "mia", "127.0.0.1"),
        ("refused", None, "", "127.0.0.1"),
    }
