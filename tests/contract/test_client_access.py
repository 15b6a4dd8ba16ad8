"""Tokens, principals, projects and members through both clients, on a server that asks who people are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import World
from tests.contract.gateway_world import world as world
from voxloom import client as sdk
from voxloom.errors import (
    Conflict,
    ControlUnavailable,
    InvalidInput,
    NotAllowed,
    NotFound,
    Unauthenticated,
    VoxloomError,
)

Call = Callable[..., Awaitable[Any]]
"""Calls a method of a client by its name."""
Calling = Callable[..., Any]
"""Opens a client that shows the token of somebody, and maybe for a project."""


@asynccontextmanager
async def opened(kind: str, url: str, token: str | None, project: str | None) -> AsyncIterator[Call]:
    if kind == "asynchronous":
        async with sdk.AsyncClient(url, token, project) as client:
            yield lambda name, /, *given, **named: getattr(client, name)(*given, **named)
    else:
        with sdk.Client(url, token, project) as plain:
            yield lambda name, /, *given, **named: asyncio.to_thread(getattr(plain, name), *given, **named)


@pytest.fixture(params=["asynchronous", "synchronous"])
def calling(closed: Closed, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Calling:
    for name in ("VOXLOOM_TOKEN", "VOXLOOM_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    def call(who: str | None, project: str | None = None) -> Any:
        token = None if who is None else closed.people.tokens.get(who, who)
        return opened(request.param, closed.world.gateway.url, token, project)

    return call


async def test_one_is_told_who_one_is(calling: Calling) -> None:
    async with calling("mia") as call:
        who = await call("whoami")
    assert (who.principal_id, who.admin, who.project_id) == ("mia", False, "lab1")
    assert [(one.project_id, one.role, one.rights) for one in who.projects] == [("lab1", "member", ["read", "run"])]


@pytest.mark.parametrize(
    ("who", "code"),
    [
        (None, "token_missing"),
        ("expired", "token_expired"),
        ("revoked", "token_revoked"),
        ("whatever", "token_invalid"),
    ],
)
async def test_who_cannot_prove_it_is_told_so(calling: Calling, who: str | None, code: str) -> None:
    async with calling(who) as call:
        with pytest.raises(Unauthenticated) as error:
            await call("whoami")
    assert (error.value.code, error.value.http_status) == (code, 401)


async def test_what_is_for_others_is_refused(calling: Calling) -> None:
    async with calling("mia") as call:
        with pytest.raises(NotAllowed, match="'admin'"):
            await call("principals")


async def test_while_nobody_knows_who_may_what_the_error_says_so(
    calling: Calling, closed: Closed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(_: object) -> None:
        raise ControlUnavailable("Nobody knows just now; try again.")

    monkeypatch.setattr(type(closed.world.gateway._control), "be_current", unknown)
    async with calling("mia") as call:
        with pytest.raises(ControlUnavailable):
            await call("whoami")


async def test_the_project_goes_along(calling: Calling) -> None:
    async with calling("root", "lab2") as call:
        assert (await call("whoami")).project_id == "lab2"


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_token_that_was_made_lets_in_until_it_is_revoked(calling: Calling) -> None:
    async with calling("mia") as call:
        # Given a token for few things
        made = await call("create_token", "for the scanner", days=1, projects=["lab1"], rights=["read"])
        async with calling(made.token) as theirs:
            assert (await theirs("whoami")).projects[0].rights == ["read"]
            # When it is revoked
            await call("revoke_token", made.token_id)
            # Then it is good for nothing
            with pytest.raises(Unauthenticated, match="was revoked"):
                await theirs("whoami")


async def test_an_admin_makes_tokens_for_others_and_sees_theirs(calling: Calling) -> None:
    async with calling("root") as call:
        made = await call("create_token", principal_id="vera")
        theirs = await call("tokens", "vera")
    assert made.principal_id == "vera"
    assert made.token_id in {one.token_id for one in theirs}
    assert {one.principal_id for one in theirs} == {"vera"}


async def test_tokens_are_told_without_their_secrets(calling: Calling, closed: Closed) -> None:
    async with calling("mia") as call:
        told = [one.model_dump_json() for one in await call("tokens")]
    assert len(told) == 3
    assert not [one for one in told for secret in closed.people.tokens.values() if secret[16:] in one]


# --- principals -----------------------------------------------------------------------------------------------------


async def test_a_principal_is_made_changed_and_removed(calling: Calling) -> None:
    async with calling("root") as call:
        made = await call("put_principal", "nina", name="Nina", admin=True)
        assert (made.name, made.admin, made.disabled) == ("Nina", True, False)
        assert (await call("put_principal", "nina", disabled=True)).disabled
        assert "nina" in {one.principal_id for one in await call("principals")}
        await call("remove_principal", "nina")
        with pytest.raises(NotFound):
            await call("principal", "nina")


@pytest.mark.parametrize(("method", "given"), [("put_principal", {}), ("remove_principal", {})])
async def test_the_last_admin_stays(calling: Calling, method: str, given: dict[str, Any]) -> None:
    async with calling("root") as call:
        with pytest.raises(Conflict) as error:
            await call(method, "root", **given)
    assert error.value.code == "last_admin"


# --- projects -------------------------------------------------------------------------------------------------------


async def test_a_project_is_made_and_people_come_and_go(calling: Calling) -> None:
    async with calling("root") as root, calling("vera") as vera:
        # Given a new project
        await root("put_project", "lab3", name="The third")
        assert (await root("project", "lab3")).name == "The third"
        # When somebody becomes a member of it
        await root("put_member", "lab3", "vera", "manager")
        # Then it is theirs to look into, until they are none any more
        assert [one.project_id for one in await vera("projects")] == ["lab1", "lab3"]
        assert [(one.principal_id, one.role) for one in await vera("members", "lab3")] == [("vera", "manager")]
        await root("remove_member", "lab3", "vera")
        with pytest.raises(NotFound):
            await vera("members", "lab3")


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("put_project", ("No Project",)),
        ("put_principal", ("../other",)),
        ("put_principal", ("local",)),
        ("put_member", ("lab1", "mia", "king")),
    ],
)
async def test_what_can_be_no_name_or_role_is_refused(calling: Calling, method: str, given: tuple[str, ...]) -> None:
    async with calling("root") as call:
        with pytest.raises(InvalidInput):
            await call(method, *given)


# --- a server that asks nobody --------------------------------------------------------------------------------------


async def test_a_server_that_asks_nobody_says_so(world: World) -> None:
    async with sdk.AsyncClient(world.gateway.url) as client:
        assert (await client.whoami()).auth == "open"
        with pytest.raises(VoxloomError) as error:
            await client.tokens()
    assert error.value.code == "auth_is_open"
