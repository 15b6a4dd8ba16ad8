"""Principals, projects, members and tokens over REST: who makes them, who sees them, what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from services.gateway.operations import tokens
from shared.control.objects import ADMINS, Admins
from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import world_at

LIST = "/api/v1/executions"


async def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""


async def ok(sent: Any) -> Any:
    answer: httpx.Response = await sent
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- the way of somebody new ----------------------------------------------------------------------------------------


async def test_somebody_new_gets_in_by_a_token_and_may_what_a_member_may(closed: Closed) -> None:
    # Given a principal, a member of a project that is new, too
    async with closed.asking("root") as root:
        await ok(root.put("/api/v1/projects/lab3", json={"name": "Third"}))
        await ok(root.put("/api/v1/principals/anna", json={"name": "Anna Berg"}))
        await ok(root.put("/api/v1/projects/lab3/members/anna", json={"role": "member"}))
        # When they get a token
        made = await ok(root.post("/api/v1/tokens", json={"principal_id": "anna", "name": "desk"}))
    closed.people.tokens["anna"] = made["token"]
    # Then they are who they are
    async with closed.asking("anna") as anna:
        told = await ok(anna.get("/api/v1/whoami"))
    assert (told["principal_id"], told["admin"], told["project_id"]) == ("anna", False, "lab3")
    assert told["projects"] == [{"project_id": "lab3", "role": "member", "rights": ["read", "run"]}]


async def test_a_secret_is_shown_once_and_kept_nowhere(closed: Closed) -> None:
    async with closed.asking("mia") as mia:
        made = await ok(mia.post("/api/v1/tokens", json={}))
        listed = (await mia.get("/api/v1/tokens")).text
    secret = made["token"].rpartition("_")[2]
    kept = b"".join([await closed.world.store.get("control-store", key) for key in await closed.control.etags()])
    assert (secret in listed, secret.encode() in kept) == (False, False)


async def test_a_role_that_is_changed_counts_at_once(closed: Closed) -> None:
    deploy = "POST", "/api/v1/algorithms"
    before = await closed.status("mia", *deploy, content=b"no zip")
    await closed.status("max", "PUT", "/api/v1/projects/lab1/members/mia", json={"role": "manager"})
    assert (before, await closed.status("mia", *deploy, content=b"no zip")) == (403, 400)


async def test_what_is_put_twice_is_changed_and_keeps_who_made_it(closed: Closed) -> None:
    async with closed.asking("root") as root:
        first = await ok(root.put("/api/v1/principals/anna", json={"name": "Anna"}))
        again = await ok(root.put("/api/v1/principals/anna", json={"name": "Anna Berg"}))
    assert again == {**first, "name": "Anna Berg"}


# --- who sees and changes what --------------------------------------------------------------------------------------

OF_PROJECTS = [
    ("GET", "/api/v1/projects/{}", None),
    ("GET", "/api/v1/projects/{}/members", None),
    ("PUT", "/api/v1/projects/{}/members/olga", {"role": "viewer"}),
    ("DELETE", "/api/v1/projects/{}/members/olga", None),
]


@pytest.mark.parametrize(("method", "path", "body"), OF_PROJECTS)
async def test_a_project_of_others_is_as_if_it_were_not_there(
    closed: Closed, method: str, path: str, body: dict[str, str] | None
) -> None:
    async with closed.asking("max") as client:
        answers = [await client.request(method, path.format(name), json=body) for name in ("lab2", "none")]
    told = [(one.status_code, one.text.replace("lab2", "*").replace("none", "*")) for one in answers]
    assert (told[0][0], told[0]) == (404, told[1])


async def test_lists_have_what_is_ones_own(closed: Closed) -> None:
    async with closed.asking("mia") as mia:
        projects = [one["project_id"] for one in await ok(mia.get("/api/v1/projects"))]
        owners = {one["principal_id"] for one in await ok(mia.get("/api/v1/tokens"))}
        others = await ok(mia.get("/api/v1/tokens", params={"principal_id": "root"}))
    assert (projects, owners, others) == (["lab1"], {"mia"}, [])


async def test_an_admin_sees_all_and_may_ask_for_one(closed: Closed) -> None:
    async with closed.asking("root") as root:
        projects = [one["project_id"] for one in await ok(root.get("/api/v1/projects"))]
        owners = {one["principal_id"] for one in await ok(root.get("/api/v1/tokens"))}
        one = {one["principal_id"] for one in await ok(root.get("/api/v1/tokens?principal_id=vera"))}
    assert (projects, owners, one) == (["lab1", "lab2"], {"root", "vera", "mia", "max", "olga"}, {"vera"})


@pytest.mark.parametrize(
    ("name", "method", "path", "body", "expected"),
    [
        ("mia", "PUT", "/api/v1/projects/lab1/members/vera", {"role": "manager"}, (403, "forbidden")),
        ("mia", "DELETE", "/api/v1/projects/lab1/members/vera", None, (403, "forbidden")),
        ("max", "PUT", "/api/v1/principals/max", {"admin": True}, (403, "forbidden")),
        ("max", "PUT", "/api/v1/projects/lab9", {}, (403, "forbidden")),
        ("max", "POST", "/api/v1/tokens", {"principal_id": "root"}, (403, "forbidden")),
        ("max", "POST", "/api/v1/tokens", {"principal_id": "nobody"}, (403, "forbidden")),
        ("max", "POST", "/api/v1/tokens", {"projects": ["lab2"]}, (404, "project_not_found")),
        ("max", "PUT", "/api/v1/projects/lab1/members/nobody", {"role": "viewer"}, (404, "principal_not_found")),
        ("max", "DELETE", "/api/v1/projects/lab1/members/olga", None, (404, "member_not_found")),
        ("root", "POST", "/api/v1/tokens", {"principal_id": "nobody"}, (404, "principal_not_found")),
        ("root", "DELETE", "/api/v1/tokens/000000000000", None, (404, "token_not_found")),
        ("root", "PUT", "/api/v1/principals/local", {}, (422, "name_reserved")),
        ("root", "PUT", "/api/v1/projects/system", {}, (422, "name_reserved")),
        ("root", "PUT", f"/api/v1/projects/{'a' * 41}", {}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/projects/-lab", {}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/projects/Lab", {}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/projects/lab%2F1", {}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/projects/l%C3%A4b", {}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/principals/anna", {"name": "a" * 201}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/principals/anna", {"admni": True}, (422, "request_validation_error")),
        ("root", "PUT", "/api/v1/projects/lab1/members/mia", {"role": "boss"}, (422, "request_validation_error")),
        ("root", "POST", "/api/v1/tokens", {"days": 0}, (422, "request_validation_error")),
        ("root", "POST", "/api/v1/tokens", {"days": 1e9}, (422, "request_validation_error")),
        ("root", "POST", "/api/v1/tokens", {"rights": ["everything"]}, (422, "request_validation_error")),
        ("root", "DELETE", "/api/v1/principals/root", None, (409, "last_admin")),
        ("root", "PUT", "/api/v1/principals/root", {"admin": False}, (409, "last_admin")),
        ("root", "PUT", "/api/v1/principals/root", {"admin": True, "disabled": True}, (409, "last_admin")),
    ],
)
async def test_what_may_not_be_is_refused_and_changes_nothing(
    closed: Closed, name: str, method: str, path: str, body: dict[str, Any] | None, expected: tuple[int, str]
) -> None:
    before = await closed.control.etags()
    async with closed.asking(name) as client:
        answer = await client.request(method, path, json=body)
    assert (await said(answer), await closed.control.etags()) == (expected, before)


async def test_names_may_be_as_long_as_they_may(closed: Closed) -> None:
    names = ["a", "a" * 40, "0-9"]
    assert [await closed.status("root", "PUT", f"/api/v1/projects/{one}", json={}) for one in names] == [200] * 3


# --- admins ---------------------------------------------------------------------------------------------------------


async def test_of_two_who_take_each_other_away_only_one_can(closed: Closed) -> None:
    # Given two admins
    await closed.status("root", "PUT", "/api/v1/principals/mia", json={"admin": True})
    # When each takes away the other at the same time
    async with closed.asking("root") as root:
        answers = await asyncio.gather(
            root.put("/api/v1/principals/mia", json={}), root.put("/api/v1/principals/root", json={})
        )
    # Then one is left
    found = await closed.control.read(ADMINS)
    assert isinstance(found, Admins)
    assert (len(found.principals), 200 in {one.status_code for one in answers}) == (1, True)


async def test_one_who_may_not_ask_does_not_count_as_an_admin(closed: Closed) -> None:
    """As when somebody is made an admin while they are removed."""
    found = await closed.control.read(ADMINS)
    assert isinstance(found, Admins)
    await closed.status("root", "DELETE", "/api/v1/principals/mia")
    await closed.control.put(found.model_copy(update={"principals": ("root", "mia")}))
    async with closed.asking("root") as root:
        assert await said(await root.put("/api/v1/principals/root", json={})) == (409, "last_admin")


async def test_one_who_was_removed_does_not_come_back(closed: Closed) -> None:
    async with closed.asking("root") as root:
        await ok(root.delete("/api/v1/principals/mia"))
        again = await said(await root.put("/api/v1/principals/mia", json={}))
        members = [one["principal_id"] for one in await ok(root.get("/api/v1/projects/lab1/members"))]
        listed = [one["principal_id"] for one in await ok(root.get("/api/v1/principals"))]
    assert (again, members) == ((409, "principal_removed"), ["max", "vera"])
    assert ("mia" in listed, await closed.status("mia")) == (False, 401)


# --- tokens ---------------------------------------------------------------------------------------------------------


async def make(closed: Closed, maker: str, name: str, **body: Any) -> tuple[int, str]:
    async with closed.asking(maker) as client:
        answer = await client.post("/api/v1/tokens", json=body)
    if answer.status_code == 200:
        closed.people.tokens[name] = answer.json()["token"]
    return await said(answer)


async def test_a_token_for_little_makes_none_for_more(closed: Closed) -> None:
    await make(closed, "max", "reader", rights=["read"], projects=["lab1"])
    refused = await make(closed, "reader", "more", rights=["read", "deploy"])
    await make(closed, "reader", "same")
    async with closed.asking("same") as client:
        told = await ok(client.get("/api/v1/whoami"))
    assert (refused, told["projects"][0]["rights"]) == ((403, "forbidden"), ["read"])


async def test_an_admins_token_for_a_project_makes_none_for_others(closed: Closed) -> None:
    await make(closed, "root", "narrow", projects=["lab1"])
    beyond = await make(closed, "narrow", "wide", projects=["lab2"])
    for_others = await make(closed, "narrow", "other", principal_id="olga")
    server_wide = await closed.status("narrow", path="/api/v1/stats")
    assert (beyond[0], for_others[0], server_wide) == (404, 403, 403)


async def test_what_was_made_with_a_token_goes_with_it(closed: Closed) -> None:
    await make(closed, "mia", "first")
    await make(closed, "first", "second")
    await make(closed, "mia", "other")
    assert await closed.status("mia", "DELETE", f"/api/v1/tokens/{closed.people.id_of('first')}") == 200
    assert [await closed.status(one) for one in ("first", "second", "other", "mia")] == [401, 401, 200, 200]


async def test_a_token_lives_no_longer_than_what_it_was_made_with(closed: Closed) -> None:
    await make(closed, "mia", "long", days=3660)
    async with closed.asking("mia") as mia:
        ends = {one["token_id"]: one["expires_at"] for one in await ok(mia.get("/api/v1/tokens"))}
    assert ends[closed.people.id_of("long")] == ends[closed.people.id_of("mia")]


async def test_what_an_admin_makes_for_others_stands_by_itself(closed: Closed) -> None:
    await make(closed, "root", "root-2")
    await make(closed, "root-2", "gift", principal_id="mia", days=300)
    await closed.status("root", "DELETE", f"/api/v1/tokens/{closed.people.id_of('root-2')}")
    assert [await closed.status(one) for one in ("root-2", "gift")] == [401, 200]


async def test_a_token_for_little_revokes_itself_and_no_other(closed: Closed) -> None:
    await make(closed, "mia", "reader", rights=["read"])
    whole = await closed.status("reader", "DELETE", f"/api/v1/tokens/{closed.people.id_of('mia')}")
    itself = await closed.status("reader", "DELETE", f"/api/v1/tokens/{closed.people.id_of('reader')}")
    assert (whole, itself, await closed.status("mia"), await closed.status("reader")) == (404, 200, 200, 401)


@pytest.mark.parametrize("name", ["mia", "expired", "revoked"])
async def test_another_ones_token_cannot_be_revoked_or_guessed(closed: Closed, name: str) -> None:
    async with closed.asking("vera") as vera:
        theirs = await vera.delete(f"/api/v1/tokens/{closed.people.id_of(name)}")
        nobodys = await vera.delete("/api/v1/tokens/000000000000")
    assert theirs.text.replace(closed.people.id_of(name), "0" * 12) == nobodys.text


async def test_revoking_twice_is_no_error_and_keeps_the_first_time(closed: Closed) -> None:
    await make(closed, "mia", "spare")
    async with closed.asking("mia") as mia:
        times = []
        for _ in range(2):
            await ok(mia.delete(f"/api/v1/tokens/{closed.people.id_of('spare')}"))
            listed = await ok(mia.get("/api/v1/tokens"))
            times.append([one["revoked_at"] for one in listed if one["token_id"] == closed.people.id_of("spare")])
    assert times[0] == times[1] != [None]


async def test_somebody_has_so_many_good_tokens_and_no_more(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 2)
    assert [await make(closed, "mia", "one"), await make(closed, "mia", "two")] == [(200, ""), (409, "too_many_tokens")]


# --- a server that asks nobody --------------------------------------------------------------------------------------


async def test_an_open_server_says_who_everybody_is_and_keeps_nothing(tmp_path: Any) -> None:
    async with world_at(tmp_path) as world, httpx.AsyncClient(base_url=world.gateway.url) as client:
        told = (await client.get("/api/v1/whoami")).json()
        refused = await said(await client.put("/api/v1/principals/anna", json={}))
    assert (told["principal_id"], told["auth"], refused) == ("local", "open", (409, "auth_is_open"))
