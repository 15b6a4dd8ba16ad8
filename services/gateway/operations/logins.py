"""Names and passwords: a token for the right one, and another password."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import SecretStr

from services.gateway.context import Context
from services.gateway.operations.control import (
    change,
    create,
    made_at,
    may_all,
    not_found,
    principal_of,
    take_away,
    tell,
    view_of,
)
from services.gateway.operations.tokens import end, record_of
from shared.audit.doing import doing
from shared.caller import Caller
from shared.control import passwords, tokens
from shared.control.objects import Lent, Password, Principal, Token, is_slug, password_key
from shared.control.passwords import Hashed
from shared.control.store import ControlStore
from voxloom.errors import Conflict, ControlUnavailable, NotAllowed, Unauthenticated, VoxloomError
from voxloom.models import LoginRequest, PasswordRequest, TokenMade, utc_now

ONE_TIME_DAYS = 7.0
"""How long a password that is good for one time may wait for that."""
MOST_LOGINS = 100
"""Tokens by login that one principal has at the same time; beyond, the oldest end."""
NAME = "login"

log = logging.getLogger("voxloom.gateway")


class Outcome(NamedTuple):
    """Of a login."""

    principal: str | None
    """None: no principal has that name, which may be anything that somebody has typed, their password, say."""
    address: str
    why: str | None = None
    """Why nobody was let in; None: somebody was."""
    token_id: str | None = None


def note(outcome: Outcome) -> None:
    """The one place that is told how each login has ended. What it says of whom goes into the audit, too: who it was
    once they are let in, else only as whom."""
    if (told := doing()) is not None:
        told.subject, told.address = outcome.principal or "", outcome.address
    who = outcome.principal or "nobody of this server"
    if outcome.why is None:
        log.info("%s has logged in from %s (token %s)", who, outcome.address, outcome.token_id)
    else:
        log.info("login refused for %s from %s: %s", who, outcome.address, outcome.why)


# --- login ----------------------------------------------------------------------------------------------------------


async def log_in(context: Context, wanted: LoginRequest, address: str) -> TokenMade:
    """A token for the right password, after the wait that failures before have earned. Raises Unauthenticated
    (`login_failed`), NotAllowed (`password_login_off`, `password_must_change`), TooMany (`too_many_logins`)."""
    view_of(context)
    if not context.settings.password_login:
        raise NotAllowed(
            "This server lets nobody in by a password; use a token (VOXLOOM_TOKEN), or ask who runs it.",
            code="password_login_off",
        )
    async with context.patience.turn(wanted.name, address):
        known = await _known(context, wanted.name)
        if not await context.hasher.fits(_text(wanted.password), known.compared) or known.refused is not None:
            context.patience.failed(wanted.name, address)
            note(Outcome(known.principal, address, known.refused or "another password"))
            raise _failed()
        context.patience.succeeded(wanted.name, address)
    if (told := doing()) is not None:  # before anything is changed
        told.actor = told.subject = known.principal or ""
        told.address = address
    try:
        return await _let_in(context, known, wanted, address)
    except VoxloomError as error:
        note(Outcome(known.principal, address, f"the password was right, but: {error.code}"))
        raise


def _failed() -> Unauthenticated:
    """Whatever is wrong: nobody learns who is known here."""
    return Unauthenticated(
        "Name and password do not fit. After some failures each try takes longer; an admin can set a new password.",
        code="login_failed",
    )


class Known(NamedTuple):
    principal: str | None
    password: Password | None
    refused: str | None
    """Why not even the right password lets anybody in."""

    @property
    def compared(self) -> Password | Hashed:
        return self.password or passwords.NOBODYS


async def _known(context: Context, name: str) -> Known:
    """As it is in the store now: another gateway may have written it a moment ago."""
    asked = name if is_slug(name) else "nobody"
    store = ControlStore(context.store)
    principal, password = await asyncio.gather(store.read(f"principals/{asked}"), store.read(password_key(asked)))
    found = principal if isinstance(principal, Principal) and asked == name else None
    kept = password if isinstance(password, Password) and found is not None else None
    return Known(found.id if found else None, kept, _why_not(found, kept, utc_now()))


def _why_not(principal: Principal | None, password: Password | None, now: datetime) -> str | None:
    if principal is None:
        return "there is nobody of that name"
    if not principal.may_ask:
        return "disabled"
    if password is None:
        return "there is no password"
    return "the password has expired" if password.is_over(now) else None


async def _let_in(context: Context, known: Known, wanted: LoginRequest, address: str) -> TokenMade:
    assert known.principal is not None
    assert known.password is not None
    password = known.password
    if wanted.new_password is not None:
        new = _text(wanted.new_password)
        _check_other(new, _text(wanted.password))
        password = await _replace(context, known.principal, known.principal, new, old=password)
    elif password.one_time:
        raise NotAllowed(
            "This password is good for one time: log in with it and a new one (`new_password`; `voxloom login` asks "
            "for it).",
            code="password_must_change",
        )
    made = await _token(context, password)
    note(Outcome(known.principal, address, token_id=made.token_id))
    return made


def _check_other(new: str, old: str) -> None:
    if new == old:
        raise Conflict("The new password is the old one; take another.", code="password_unchanged")


async def _token(context: Context, password: Password) -> TokenMade:
    minted, now = tokens.mint(), made_at(context, password.principal)
    token = Token(
        id=minted.id,
        principal=password.principal,
        digest=minted.digest,
        name=NAME,
        login=password.id,
        created_at=now,
        created_by=password.principal,
        expires_at=now + timedelta(hours=context.settings.login_hours),
    )
    await create(context, token)
    old = _too_many(context, password.principal)
    await take_away(context, *old)
    await tell(context, token.key, password.key, *old)
    return TokenMade(**record_of(token, "good").model_dump(), token=minted.text)


def _too_many(context: Context, principal_id: str) -> list[str]:
    """Those of logins that have ended, and the oldest of the others; what was made with them ends along."""
    directory, now = view_of(context).directory, utc_now()
    theirs = [one for one in directory.tokens() if one.principal == principal_id and one.login is not None]
    makers = {one.made_with for one in directory.tokens()}
    good = sorted((one for one in theirs if directory.state(one, now) == "good"), key=lambda one: one.created_at)
    beyond = good[: max(0, len(good) + 1 - MOST_LOGINS)]
    ended = [one for one in theirs if one not in good and one.id not in makers]
    return [one.key for one in (*beyond, *ended)]


# --- passwords ------------------------------------------------------------------------------------------------------


async def set_password(
    context: Context, caller: Caller, principal_id: str, wanted: PasswordRequest, address: str
) -> None:
    """One's own with the old one; an admin those of all. What was let in by the old one is not any more. Raises
    NotAllowed, NotFound, InvalidInput, Conflict."""
    _check_may(context, caller, principal_id)
    new = _text(wanted.password)
    passwords.check(new)
    old = await _old(context, principal_id)
    if old is not None and not may_all(context, caller):
        await _check_old(context, principal_id, old, wanted.old_password, address)
        _check_other(new, _text(wanted.old_password or SecretStr("")))
    await _replace(context, principal_id, caller.principal, new, old=old, one_time=wanted.one_time)


async def remove_password(context: Context, principal_id: str) -> None:
    """Tokens of logins end with it. Raises NotFound."""
    principal_of(context, principal_id)
    if await _old(context, principal_id) is None:
        raise not_found("password", principal_id)
    await take_away(context, password_key(principal_id))
    await _end_logins(context, principal_id, password_key(principal_id))


def _check_may(context: Context, caller: Caller, principal_id: str) -> None:
    """A token for few things does not become one for all by a password, nor does one of an OpenID provider become one
    that outlives it."""
    shown = view_of(context).directory.good_token(caller.token, utc_now())
    if not may_all(context, caller) or (principal_id == caller.principal and isinstance(shown, Lent)):
        whole = shown.rights is None and shown.projects is None and not isinstance(shown, Lent)
        if principal_id != caller.principal or not whole:
            raise NotAllowed(
                "You set your own password alone, with a token that has all your rights; admins set those of others.",
                code="forbidden",
                details={"right": "admin"},
            )
    principal_of(context, principal_id)


async def _old(context: Context, principal_id: str) -> Password | None:
    found = await ControlStore(context.store).read(password_key(principal_id))
    if found is not None and not isinstance(found, Password):
        raise ControlUnavailable(f"The password of {principal_id!r} cannot be read; an admin can remove it.")
    return found


async def _check_old(context: Context, principal_id: str, old: Password, shown: SecretStr | None, address: str) -> None:
    """Whoever has found a token may guess here, too. Raises NotAllowed (`old_password_wrong`)."""
    async with context.patience.turn(principal_id, address):
        if shown is None or not await context.hasher.fits(_text(shown), old):
            if shown is not None:
                context.patience.failed(principal_id, address)
            raise NotAllowed(
                "To change a password, send the one so far with it (`old_password`); an admin can set a new one.",
                code="old_password_wrong",
            )


async def _replace(
    context: Context, principal_id: str, who: str, text: str, *, old: Password | None, one_time: bool = False
) -> Password:
    """Raises Conflict (`changed_meanwhile`) where it is another one by now."""
    passwords.check(text)
    made, now = await context.hasher.hashed(text), utc_now()
    new = Password(
        principal=principal_id,
        **made._asdict(),
        one_time=one_time,
        expires_at=now + timedelta(days=ONE_TIME_DAYS) if one_time else None,
        created_at=now,
        created_by=who,
    )

    def make(found: Password | None) -> Password:
        if (found and found.id) != (old and old.id):
            raise Conflict("Somebody changes this password at the same time; try again.", code="changed_meanwhile")
        return new

    await change(context, new.key, Password, make)
    await _end_logins(context, principal_id, new.key, but=new.id)
    return new


async def _end_logins(context: Context, principal_id: str, key: str, *, but: str | None = None) -> None:
    """They have ended already for whoever knows the new password; gateways of an older version do not look at it."""
    await tell(context, key)
    ended = [
        one.key
        for one in view_of(context).directory.tokens()
        if one.principal == principal_id and one.login not in (None, but) and one.revoked_at is None
    ]
    await end(context, ended)


def _text(secret: SecretStr) -> str:
    return secret.get_secret_value()
