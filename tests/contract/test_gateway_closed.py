"""A server that asks who people are: what they show, what they may, and when that ends."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from aiohttp import web

from messages.control import ControlChanged
from services.gateway.context import CONTEXT
from services.gateway.http import authentication
from services.gateway.http.front import NEEDS
from services.gateway.service import Gateway
from shared.control import latch, view
from shared.control.latch import hold
from shared.control.objects import ADMINS, MODE
from shared.control.objects import ROLES as RIGHTS
from shared.control.store import COLLECTION, ControlStore
from tests.contract.closed_world import ROLES, Closed, closed_at
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import HDF5, World, eventually, platform_at, world_on
from voxloom.errors import BusUnavailable, ControlUnavailable, Misconfigured, StoreUnavailable
from voxloom.ids import new_id

LIST = "/api/v1/executions"


def app_of(world: World) -> web.Application:
    assert world.gateway._runner is not None
    return world.gateway._runner.app


def asked(closed: Closed) -> Sequence[tuple[str, str, str]]:
    """Method, path and need of every route that wants to know who asks; no name in them is that of anything."""
    names = {"major": "1", "name": "Nobodys", "project_id": "nothing", "principal_id": "nobody", "token_id": "0" * 12}
    found = []
    for (method, path), need in sorted(app_of(closed.world)[NEEDS].items()):
        if need != "nothing":
            found.append((method, re.sub(r"{(\w+)}", lambda one: names.get(one[1], new_id()), path), need))
    return found


async def code_of(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> tuple[int, str]:
    """Status, and the code of the problem."""
    async with client.stream(method, path, **more) as answer:
        if answer.status_code < 400:
            return answer.status_code, ""
        await answer.aread()
        return answer.status_code, answer.json()["code"]


# --- what people show -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "token_missing"),
        ("unknown", "token_invalid"),
        ("expired", "token_expired"),
        ("revoked", "token_revoked"),
    ],
)
async def test_without_a_good_token_no_route_answers(closed: Closed, token: str | None, code: str) -> None:
    async with closed.asking(token) as client:
        wrong = []
        for method, path, _ in asked(closed):
            said = await code_of(client, method, path)
            if said != (401, code):
                wrong.append(f"{method} {path}: {said}")
    assert wrong == []


@pytest.mark.parametrize("name", ["vera", "mia", "max"])
async def test_everybody_may_what_their_role_says_and_no_more(closed: Closed, name: str) -> None:
    rights = RIGHTS[ROLES[name][1]]
    wrong = []
    async with closed.asking(name) as client:
        for method, path, need in asked(closed):
            status, code = await code_of(client, method, path)
            refused = (status, code) == (403, "forbidden")
            if refused != (need not in (*rights, "identity")) or status == 401:
                wrong.append(f"{method} {path}: {status} {code}")
    assert wrong == []


async def test_what_concerns_the_server_is_for_admins_whatever_project_they_name(closed: Closed) -> None:
    wrong = []
    async with closed.asking("root") as client:
        for method, path, need in asked(closed):
            status, code = await code_of(client, method, path)
            if code == "project_required" if need in ("admin", "identity") else code != "project_required":
                wrong.append(f"{method} {path}: {status} {code}")
    assert wrong == []


HEADERS = {
    "another scheme": "Digest abc",
    "no scheme": "TOKEN",
    "nothing": "",
    "Bearer alone": "Bearer",
    "a token cut off": "Bearer vox_abc",
    "text that is no base64": "Basic ???",
    "Basic without a colon": f"Basic {base64.b64encode(b'TOKEN').decode()}",
    "Basic that is no text": f"Basic {base64.b64encode(bytes([255, 58, 254])).decode()}",
    "very long": "Bearer " + "a" * 60_000,
    "letters of other scripts": "Bearer vox_é",
}


@pytest.mark.parametrize("what", HEADERS)
async def test_what_is_no_proof_is_refused(closed: Closed, what: str) -> None:
    async with httpx.AsyncClient(base_url=closed.world.gateway.url) as client:
        answer = await client.get(LIST, headers={b"Authorization": HEADERS[what].encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_a_proof_is_read_once_for_each_request(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    usual = authentication.read_credentials

    def noting(request: web.Request) -> authentication.Credentials:
        read.append(request.path)
        return usual(request)

    monkeypatch.setattr(authentication, "read_credentials", noting)
    async with closed.asking("mia") as mia:
        await mia.post("/api/v1/samples", json={"files": []})
        await mia.get(LIST)
    assert read == ["/api/v1/samples", LIST]


async def test_two_proofs_are_none(closed: Closed) -> None:
    good = ("Authorization", f"Bearer {closed.people.tokens['mia']}")
    async with httpx.AsyncClient(base_url=closed.world.gateway.url) as client:
        answer = await client.get(LIST, headers=[good, good])
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_a_token_in_the_query_is_no_proof(closed: Closed) -> None:
    assert await closed.status(None, params={"token": closed.people.tokens["mia"]}) == 401


@pytest.mark.parametrize("user", ["", "token", "mia", "lab1"])
async def test_a_token_is_good_as_the_password_of_basic(closed: Closed, user: str) -> None:
    async with closed.asking(None) as client:
        answer = await client.get(LIST, auth=(user, closed.people.tokens["mia"]))
    assert answer.status_code == 200


async def test_the_user_of_basic_may_be_a_project(closed: Closed) -> None:
    async with closed.asking(None) as client:
        answer = await client.get("/api/v1/whoami", auth=("lab2", closed.people.tokens["root"]))
        other = await client.get(LIST, auth=("lab2", closed.people.tokens["mia"]))
    assert (answer.json()["project_id"], other.json()["code"]) == ("lab2", "project_not_allowed")


@pytest.mark.parametrize(
    ("headers", "offered"),
    [
        ({}, 'Bearer realm="voxloom", Basic realm="voxloom", charset="UTF-8"'),
        ({"Sec-Fetch-Mode": "cors"}, 'Bearer realm="voxloom"'),
    ],
)
async def test_a_refusal_says_how_to_prove_who_one_is(closed: Closed, headers: dict[str, str], offered: str) -> None:
    async with closed.asking(None) as client:
        answer = await client.get(LIST, headers=headers)
    assert answer.headers["WWW-Authenticate"] == offered


async def test_answers_are_kept_apart_by_who_asks(closed: Closed) -> None:
    async with closed.asking("mia") as client:
        answer = await client.get(LIST)
    assert "Authorization" in answer.headers["Vary"]
    assert answer.headers["Cache-Control"].startswith("private")


async def test_one_in_several_projects_says_which(closed: Closed) -> None:
    await closed.status("root", "PUT", "/api/v1/projects/lab2/members/mia", json={"role": "viewer"})
    async with closed.asking("mia") as client:
        unsaid = await client.get(LIST)
        said = await client.get(LIST, headers={"Voxloom-Project": "lab2"})
        twice = await client.get(LIST, headers=[("Voxloom-Project", "lab2"), ("Voxloom-Project", "lab1")])
    assert [one.status_code for one in (unsaid, said, twice)] == [400, 200, 422]


async def test_what_is_made_is_of_the_project_that_was_named(closed: Closed) -> None:
    async with closed.asking("root", **{"Voxloom-Project": "lab2"}) as root:
        file = (await root.post("/api/v0/files", content=HDF5)).json()["file_id"]
    theirs = await closed.status("olga", path=f"/api/v1/files/{file}")
    others = await closed.status("mia", path=f"/api/v1/files/{file}")
    assert (theirs, others) == (200, 404)


# --- when it ends ---------------------------------------------------------------------------------------------------


async def test_a_revoked_token_is_refused_by_every_gateway_before_the_next_answer(closed: Closed) -> None:
    # Given two gateways that know the token
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        async with closed.asking("mia", url=other.url) as there, closed.asking("root") as root:
            assert (await there.get(LIST)).status_code == 200
            # When it is revoked at one of them
            (await root.delete(f"/api/v1/tokens/{closed.people.id_of('mia')}")).raise_for_status()
            # Then the other refuses it
            assert await code_of(there, "GET", LIST) == (401, "token_revoked")
    finally:
        await other.stop()


async def revoke_unheard(closed: Closed, name: str) -> None:
    """As by a gateway that dies before it has told anybody."""
    found = await closed.control.find(f"tokens/{closed.people.id_of(name)}")
    assert found is not None
    await closed.control.put(found[0].model_copy(update={"revoked_at": found[0].created_at}))  # type: ignore[union-attr]


async def test_a_revocation_that_nobody_was_told_of_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "AGAIN_SECS", 0.05)
    async with closed_at(tmp_path) as closed:
        await revoke_unheard(closed, "mia")

        async def is_refused() -> bool:
            return await closed.status("mia") == 401

        await eventually(is_refused)


async def test_without_the_broker_the_store_is_asked(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await closed.status("mia") == 200

    async def away() -> None:
        raise BusUnavailable("The broker is away.")

    monkeypatch.setattr(closed.world.gateway._following, "is_caught_up", lambda: False)
    monkeypatch.setattr(door_of(closed), "_is_caught_up", lambda: False)
    monkeypatch.setattr(door_of(closed), "_catch_up", away)
    await revoke_unheard(closed, "mia")
    assert await closed.status("mia") == 401


def door_of(closed: Closed) -> authentication.Authenticator:
    door = app_of(closed.world)[CONTEXT].door
    assert isinstance(door, authentication.Authenticator)
    return door


async def test_what_is_known_too_long_ago_lets_nobody_in(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: object) -> None:
        raise StoreUnavailable("The store is away.")

    monkeypatch.setattr(ControlStore, "etags", away)
    assert await closed.status("mia") == 200
    monkeypatch.setattr(view, "OLDEST_SECS", 0.0)
    assert await closed.status("mia") == 503


@pytest.mark.parametrize("how", ["revoked", "expelled", "disabled"])
async def test_an_answer_under_way_ends_with_the_right_to_it(closed: Closed, how: str) -> None:
    ends = {
        "revoked": ("DELETE", f"/api/v1/tokens/{closed.people.id_of('mia')}", None),
        "expelled": ("DELETE", "/api/v1/projects/lab1/members/mia", None),
        "disabled": ("PUT", "/api/v1/principals/mia", {"disabled": True}),
    }
    method, path, body = ends[how]
    async with (
        closed.asking("mia") as mia,
        closed.asking("vera") as vera,
        mia.stream("GET", "/api/v1/events") as theirs,
        vera.stream("GET", "/api/v1/events") as others,
    ):
        assert await closed.status("root", method, path, json=body) == 200
        async with asyncio.timeout(60.0):
            with pytest.raises(httpx.HTTPError):
                await theirs.aread()
        # And nobody else's
        assert not others.is_closed


async def sent_late(closed: Closed, name: str, method: str, path: str, body: bytes, meanwhile: Any) -> int:
    """The status of a request whose body comes to its end only after something else has."""
    begun, rest = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:1]
        begun.set()
        await rest.wait()
        yield body[1:]

    async with closed.asking(name) as client:
        asking = asyncio.create_task(client.request(method, path, content=pieces()))
        await begun.wait()
        assert await meanwhile == 200
        rest.set()
        try:
            return (await asking).status_code
        except httpx.HTTPError:
            return 0  # cut


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/tokens", b"{}"),
        ("PUT", "/api/v1/projects/lab1/members/olga", b'{"role": "manager"}'),
        ("POST", "/api/v1/samples", b'{"files": [{"image": ["x"]}]}'),
        ("POST", "/api/v0/files", HDF5),
    ],
)
async def test_what_comes_after_the_right_has_ended_changes_nothing(
    closed: Closed, method: str, path: str, body: bytes
) -> None:
    revoked = closed.status("root", "DELETE", f"/api/v1/tokens/{closed.people.id_of('max')}")
    status = await sent_late(closed, "max", method, path, body, revoked)
    known = await closed.control.etags()
    assert (status in (0, 401), "members/lab1/olga" in known) == (True, False)
    assert len([key for key in known if key.startswith("tokens/")]) == len(closed.people.tokens) - 1


async def test_who_is_promoted_keeps_what_they_follow(closed: Closed) -> None:
    async with closed.asking("mia") as mia, mia.stream("GET", "/api/v1/events") as stream:
        await closed.status("root", "PUT", "/api/v1/projects/lab1/members/mia", json={"role": "manager"})
        await closed.status("root", "PUT", "/api/v1/projects/lab2/members/mia", json={"role": "viewer"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await stream.aread()


async def test_what_is_followed_ends_when_rights_cannot_be_looked_up_any_more(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise StoreUnavailable("The store is away.")

    monkeypatch.setattr(view, "AGAIN_SECS", 0.05)
    async with closed.asking("mia") as mia, mia.stream("GET", "/api/v1/events") as stream:
        monkeypatch.setattr(ControlStore, "etags", away)
        monkeypatch.setattr(view, "OLDEST_SECS", 0.0)
        await closed.world.bus.publish(ControlChanged(subject=new_id()))
        async with asyncio.timeout(60.0):
            with pytest.raises(httpx.HTTPError):
                await stream.aread()


async def test_a_store_that_refuses_us_stops_nobody(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object, __: object) -> None:
        raise Misconfigured("The key is not good any more: AKIA...")

    with monkeypatch.context() as refusing:
        refusing.setattr(ControlStore, "read_many", refuse)
        await closed.world.bus.publish(ControlChanged(subject=new_id(), keys=[ADMINS]))
        async with closed.asking("mia") as mia:
            answer = await mia.get(LIST)
        assert (answer.json()["code"], "AKIA" in answer.text) == ("control_unavailable", False)
    assert (await closed.status("mia"), closed.world.gateway.failed.done()) == (200, False)


async def test_who_proves_nothing_costs_the_store_nothing(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise BusUnavailable("The broker is away.")

    monkeypatch.setattr(door_of(closed), "_is_caught_up", lambda: False)
    monkeypatch.setattr(door_of(closed), "_catch_up", away)
    monkeypatch.setattr(closed.world.gateway._control, "read_anew", away)
    assert await closed.status(None) == 401


# --- the mode -------------------------------------------------------------------------------------------------------


async def test_a_store_without_anybody_lets_nobody_in(tmp_path: Path) -> None:
    async with (
        platform_at(tmp_path, auth="closed") as platform,
        world_on(platform) as world,
        httpx.AsyncClient(base_url=world.gateway.url) as client,
    ):
        assert [(await client.get(path)).status_code for path in (LIST, "/livez")] == [401, 200]


async def test_a_store_that_is_lost_while_the_server_runs_lets_nobody_in(closed: Closed) -> None:
    await closed.control.remove(*(await closed.control.etags()))
    await closed.world.bus.publish(ControlChanged(subject=new_id()))
    assert {await closed.status(name) for name in ("root", "mia", None)} == {401}


async def test_what_was_closed_never_opens_by_itself(closed: Closed) -> None:
    with pytest.raises(Misconfigured, match="VOXLOOM_AUTH=closed"):
        await hold(closed.control, "open")


@pytest.mark.parametrize(
    ("key", "data"),
    [(MODE, b'{"format": 99}'), (ADMINS, b'{"principals": ["root"]}'), (ADMINS, b"what is this")],
)
async def test_a_trace_of_a_closed_server_keeps_it_closed(tmp_path: Path, key: str, data: bytes) -> None:
    async with platform_at(tmp_path) as platform:
        await platform.store.put(COLLECTION, key, data)
        with pytest.raises(Misconfigured):
            await hold(ControlStore(platform.store), "open")


async def test_an_open_server_that_runs_ends_when_others_close_its_store(tmp_path: Path) -> None:
    async with platform_at(tmp_path) as platform, world_on(platform) as world:
        settings = platform.settings.model_copy(update={"auth": "closed"})
        closed = Gateway(replace(platform, settings=settings))
        await closed.start()
        try:
            async with asyncio.timeout(60.0):
                with pytest.raises(Misconfigured, match="VOXLOOM_AUTH=closed"):
                    await asyncio.shield(world.gateway.failed)
        finally:
            await closed.stop()


async def test_an_open_server_asks_again_where_the_store_did_not_say_whether_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail_once(store: ControlStore, auth: Literal["open", "closed"]) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:  # the first is at the start
            raise StoreUnavailable("The store is away.")
        await hold(store, auth)

    monkeypatch.setattr(latch, "hold", fail_once)
    async with platform_at(tmp_path) as platform, world_on(platform) as world:
        await hold(ControlStore(platform.store), "closed")
        await platform.bus.publish(ControlChanged(subject=new_id(), keys=[MODE]))
        async with asyncio.timeout(60.0):
            with pytest.raises(Misconfigured):
                await asyncio.shield(world.gateway.failed)


async def test_who_asks_for_what_is_not_there_costs_the_broker_nothing(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def count() -> None:
        nonlocal asked
        asked += 1

    context = app_of(closed.world)[CONTEXT]
    monkeypatch.setattr(context, "is_caught_up", lambda: False)
    monkeypatch.setattr(context, "catch_up", count)
    assert (await closed.status(None, path="/api/v1/nothing"), asked) == (404, 0)


async def test_others_hear_of_a_revocation_that_this_gateway_cannot_read_itself(
    closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Gateway(closed.world.platform)
    await other.start()

    async def fail() -> None:
        raise ControlUnavailable("The store is away.")

    try:
        monkeypatch.setattr(closed.world.gateway._control, "be_current", fail)
        door = door_of(closed)
        monkeypatch.setattr(door, "be_sure", lambda request: asyncio.sleep(0))
        refused = await closed.status("root", "DELETE", f"/api/v1/tokens/{closed.people.id_of('mia')}")
        async with closed.asking("mia", url=other.url) as there:
            assert (refused, await code_of(there, "GET", LIST)) == (503, (401, "token_revoked"))
    finally:
        await other.stop()


async def test_an_open_server_notes_nothing(tmp_path: Path) -> None:
    async with platform_at(tmp_path) as platform:
        await hold(ControlStore(platform.store), "open")
        assert await ControlStore(platform.store).etags() == {}


@pytest.mark.parametrize("key", [ADMINS, "members/lab1/mia", "tokens/{mia}", "principals/mia", "projects/lab1"])
async def test_what_a_newer_version_has_written_gives_nothing_and_harms_nobody_else(closed: Closed, key: str) -> None:
    key = key.replace("{mia}", closed.people.id_of("mia"))
    await closed.world.store.put(COLLECTION, key, b'{"format": 2, "admins": "all"}')
    await closed.world.bus.publish(ControlChanged(subject=new_id(), keys=[key]))
    concerned = "root" if key == ADMINS else "mia"
    async with closed.asking(concerned) as client:
        refused = await code_of(client, "GET", "/api/v1/stats" if concerned == "root" else LIST)
    assert (refused[0] in (400, 403, 503), await closed.status("olga")) == (True, 200)
