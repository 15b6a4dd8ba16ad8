"""The first admin of a store, who lets in all others.

All that they consist of is written first, and last of all `admins`, on condition that there is none: at that moment one
of two who do this at once has lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from messages.base import DEFAULT_PROJECT
from shared.control.latch import hold
from shared.control.objects import ADMINS, RESERVED, Admins, Member, Principal, Project, Token, Unreadable, is_slug
from shared.control.store import ControlStore
from shared.control.tokens import Minted
from voxloom.errors import Conflict, InvalidInput, NotFound, VoxloomError

DAYS = 365
"""How long the first token is good."""


@dataclass(frozen=True)
class Beginning:
    principal: Principal
    project: Project
    member: Member
    token: Token

    @property
    def admins(self) -> Admins:
        return Admins(principals=(self.principal.id,))


def beginning(principal: str, minted: Minted, now: datetime) -> Beginning:
    """Raises InvalidInput for what can be no id."""
    check_id(principal)
    made = {"created_at": now, "created_by": principal}
    return Beginning(
        principal=Principal.model_validate({"id": principal, **made}),
        project=Project.model_validate({"id": DEFAULT_PROJECT, **made}),
        member=Member.model_validate({"project": DEFAULT_PROJECT, "principal": principal, "role": "manager", **made}),
        token=_token(principal, minted, now, "the first one"),
    )


def _token(principal: str, minted: Minted, now: datetime, name: str) -> Token:
    return Token(
        id=minted.id,
        principal=principal,
        digest=minted.digest,
        name=name,
        created_at=now,
        created_by=principal,
        expires_at=now + timedelta(days=DAYS),
    )


def check_id(principal: str) -> None:
    """Raises InvalidInput."""
    if principal in RESERVED or not is_slug(principal):
        raise InvalidInput(
            f"{principal[:100]!r} can be no id of an admin; take 1 to 40 small letters, digits and dashes, with a "
            f"letter or digit at both ends, and none of {', '.join(sorted(RESERVED))}."
        )


async def check_nobody(control: ControlStore) -> None:
    """Raises Conflict (`admin_exists`), StoreUnavailable."""
    found = await control.read(ADMINS)
    if found is not None:
        raise _somebody(found)


def _somebody(found: object) -> Conflict:
    who = " and ".join(map(repr, found.principals)) if isinstance(found, Admins) else "one that cannot be read here"
    return Conflict(
        f"This server has an admin already: {who}. Ask them for a token; they make one with "
        "`voxloom token create --for YOU`, and another admin with `voxloom admin user add YOU --admin`.",
        code="admin_exists",
    )


async def renew(control: ControlStore, principal: str, minted: Minted, now: datetime) -> Token:
    """Another token for one who is an admin. Whoever can write the store may have that. Raises NotFound
    (`admin_not_found`), Conflict (`principal_disabled`), StoreUnavailable."""
    found = await control.read(ADMINS)
    if not isinstance(found, Admins) or principal not in found.principals:
        known = f"; those are {', '.join(found.principals)}" if isinstance(found, Admins) else ""
        raise NotFound(f"{principal!r} is no admin of this server{known}.", code="admin_not_found")
    await _check_usable(control, f"principals/{principal}", principal)
    token = _token(principal, minted, now, "made beside the server")
    await control.create(token)
    return token


class Unsure(VoxloomError):
    """Nobody knows whether the last word was written; so all that it needs is left there."""

    code = "admin_unsure"


async def begin(control: ControlStore, first: Beginning) -> None:
    """Raises Conflict (`admin_exists`, `principal_disabled`) and StoreUnavailable; then the token is not kept. Unsure.

    Once the last word is being said, it is waited for, also where the caller is cancelled.
    """
    await check_nobody(control)
    made = await _prepare(control, first)
    try:
        await _through(_say_the_last_word(control, first))
    except Conflict as error:
        await _take_back(control, first, made)
        raise _somebody(await control.read(ADMINS)) from error
    except (VoxloomError, asyncio.CancelledError) as error:
        raise Unsure(str(error) or "interrupted") from error


async def _prepare(control: ControlStore, first: Beginning) -> list[str]:
    """The keys of what was not there before."""
    made: list[str] = []
    try:
        for one in (first.principal, first.project, first.member, first.token):
            with suppress(Conflict):
                await control.create(one)
                made.append(one.key)
        await _check_usable(control, first.principal.key, first.principal.id)
    except BaseException:
        await control.remove(first.token.key)
        raise
    return made


async def _check_usable(control: ControlStore, key: str, principal: str) -> None:
    """Somebody of that id may have been there before. Raises Conflict."""
    found = await control.read(key)
    if not isinstance(found, Principal) or not found.may_ask:
        why = f"cannot be read ({found.why})" if isinstance(found, Unreadable) else "may not use it any more"
        raise Conflict(
            f"This server knows a principal {principal!r} already, who {why}; name another one with --principal.",
            code="principal_disabled",
        )


async def _say_the_last_word(control: ControlStore, first: Beginning) -> None:
    await control.create(first.admins)
    with suppress(Conflict):
        await hold(control, "closed")


async def _through(last: Awaitable[None]) -> None:
    """To its end, however often who waits is cancelled."""
    task = asyncio.ensure_future(last)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


async def _take_back(control: ControlStore, first: Beginning, made: list[str]) -> None:
    """What the winner may stand on stays."""
    found = await control.read(ADMINS)
    theirs = isinstance(found, Admins) and first.principal.id not in found.principals
    mine = {first.principal.key, first.member.key} if theirs else set()
    await control.remove(first.token.key, *(key for key in made if key in mine))
