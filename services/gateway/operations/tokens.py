"""What proves who somebody is: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from services.gateway.context import Context
from services.gateway.operations.control import (
    change,
    directory_of,
    made_at,
    may_all,
    not_found,
    principal_of,
    reach_of,
    take_away,
    tell,
)
from services.gateway.operations.control import create as create_object
from shared.caller import Caller, Right
from shared.control import tokens
from shared.control.objects import ALL_RIGHTS, Lent, Token, TokenState
from voxloom.errors import Conflict, NotAllowed, StoreFull
from voxloom.models import (
    ReachRecord,
    TokenMade,
    TokenRecord,
    TokenRequest,
    WhoAmI,
    format_time,
    utc_now,
)

MOST_TOKENS = 200
"""Good ones of one principal."""
MOST_KEPT = 1000
"""Of one principal, those that have ended, too."""
KEPT_DAYS = 90
"""How long a list still shows what has expired or was revoked."""
_ORDER: tuple[Right, ...] = ("read", "run", "deploy", "admin")


def who_am_i(context: Context, caller: Caller) -> WhoAmI:
    if context.control is None:
        return WhoAmI(
            principal_id=caller.principal,
            name="whoever reaches this server",
            auth="open",
            admin=True,
            project_id=caller.project,
            projects=[],
        )
    directory, reach = directory_of(context), reach_of(context, caller)
    token, principal = directory.token(caller.token), directory.principal(caller.principal)
    return WhoAmI(
        principal_id=caller.principal,
        name=principal.name if principal else "",
        auth="closed",
        admin=may_all(context, caller),
        project_id=caller.project if caller.project in reach else None,
        token_id=caller.token,
        expires_at=format_time(token.expires_at) if token else None,
        projects=[
            ReachRecord(project_id=one, role=directory.role_with(one, token) if token else None, rights=_sorted(rights))
            for one, rights in sorted(reach.items())
        ],
    )


def _sorted(rights: Iterable[Right]) -> list[Right]:
    return sorted(rights, key=_ORDER.index)


async def create(context: Context, caller: Caller, wanted: TokenRequest) -> TokenMade:
    """It is good for no more than the token that it is made with. Raises NotAllowed, NotFound, Conflict."""
    owner = wanted.principal_id or caller.principal
    _check_owner(context, caller, owner)
    await _make_way(context, owner)
    _check_owner(context, caller, owner)  # That has taken its time.
    shown = _shown(context, caller)
    if isinstance(shown, Lent) and owner == caller.principal:
        raise NotAllowed(
            "With an access token of the OpenID provider one makes no tokens for oneself: they would outlive what the "
            "provider says of you. An admin makes one for you.",
            code="forbidden",
        )
    minted, now = tokens.mint(), made_at(context, owner)
    token = Token(
        id=minted.id,
        principal=owner,
        digest=minted.digest,
        name=wanted.name,
        projects=_projects(context, caller, shown, wanted.projects),
        rights=_rights(shown, wanted.rights),
        created_at=now,
        created_by=caller.principal,
        made_with=shown.id if owner == caller.principal else None,
        expires_at=_expires(shown, owner, now + timedelta(days=wanted.days)),
    )
    await create_object(context, token)
    await tell(context, token.key)
    return TokenMade(**record_of(token, "good").model_dump(), token=minted.text)


def _check_owner(context: Context, caller: Caller, owner: str) -> None:
    if owner != caller.principal and not may_all(context, caller):
        raise NotAllowed("Only admins make tokens for others.", code="forbidden", details={"right": "admin"})
    principal_of(context, owner)


def _shown(context: Context, caller: Caller) -> Token:
    """Raises Unauthenticated where it is good no more."""
    return directory_of(context).good_token(caller.token, utc_now())


def _expires(shown: Token, owner: str, wanted: datetime) -> datetime:
    """One's own live no longer than what they are made with; what an admin makes for others is theirs."""
    return min(wanted, shown.expires_at) if owner == shown.principal else wanted


def _rights(shown: Token, wanted: Iterable[Right] | None) -> tuple[Right, ...] | None:
    """Raises NotAllowed for more than is shown."""
    if wanted is None:
        return shown.rights
    beyond = set(wanted) - (ALL_RIGHTS if shown.rights is None else set(shown.rights))
    if beyond:
        raise NotAllowed(
            f"Your own token has no right to {', '.join(_sorted(beyond))}, so it cannot make one that has.",
            code="forbidden",
            details={"right": _sorted(beyond)[0]},
        )
    return tuple(_sorted(set(wanted)))


def _projects(context: Context, caller: Caller, shown: Token, wanted: Iterable[str] | None) -> tuple[str, ...] | None:
    """Raises NotFound for one that is not the caller's."""
    if wanted is None:
        return shown.projects
    reach = reach_of(context, caller)
    for project in wanted:
        if project not in reach:
            raise not_found("project", project)
    return tuple(sorted(set(wanted)))


async def _make_way(context: Context, owner: str) -> None:
    """Forgets what has ended long ago. Raises Conflict (`too_many_tokens`)."""
    now = utc_now()
    directory = directory_of(context)
    theirs = [one for one in directory.tokens() if one.principal == owner]
    makers = {one.made_with for one in theirs}  # which are asked about as long as there is what they have made
    ended = sorted((one for one in theirs if directory.state(one, now) != "good" and one.id not in makers), key=_ended)
    too_many = max(0, len(theirs) - MOST_KEPT)
    old = [one.key for at, one in enumerate(ended) if at < too_many or _ended(one) < now - timedelta(days=KEPT_DAYS)]
    if old:
        await take_away(context, *old)
        await tell(context, *old)
    if sum(directory.state(one, now) == "good" for one in theirs) >= MOST_TOKENS:
        raise Conflict(f"{owner!r} has {MOST_TOKENS} tokens that are good; revoke some first.", code="too_many_tokens")


def _ended(one: Token) -> datetime:
    return min(one.expires_at, one.revoked_at or one.expires_at)


def list_of(context: Context, caller: Caller, principal_id: str | None) -> list[TokenRecord]:
    """One's own; an admin's list has all, or those of one principal. The newest first."""
    every = may_all(context, caller)
    wanted = principal_id if every else caller.principal
    if principal_id not in (None, wanted):
        return []
    directory, now = directory_of(context), utc_now()
    found = [one for one in directory.tokens() if wanted in (None, one.principal)]
    return [
        record_of(one, directory.state(one, now))
        for one in sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)
    ]


async def revoke(context: Context, caller: Caller, token_id: str) -> None:
    """And those that were made with it. Returns when no gateway lets anybody in by them any more. Raises NotFound."""
    directory = directory_of(context)
    found = directory.token(token_id)
    if found is None or not _may_revoke(context, caller, found):
        raise not_found("token", token_id)
    await end(context, [f"tokens/{one}" for one in _made_with(directory.tokens(), token_id)])


async def end(context: Context, keys: Sequence[str]) -> None:
    """Returns when no gateway lets anybody in by these tokens any more."""
    now = utc_now()

    def revoked(old: Token | None) -> Token | None:
        return old if old is None or old.revoked_at else old.model_copy(update={"revoked_at": now})

    for key in keys:
        try:
            await change(context, key, Token, revoked)
        except StoreFull:  # What is not there lets nobody in, either, and takes no room.
            await take_away(context, key)
    if keys:
        await tell(context, *keys)


def _may_revoke(context: Context, caller: Caller, token: Token) -> bool:
    """A token for few things ends itself and what was made with it, and nothing else of its owner."""
    if may_all(context, caller):
        return True
    if token.principal != caller.principal:
        return False
    shown = _shown(context, caller)
    whole = shown.rights is None and shown.projects is None
    return whole or token.id in _made_with(directory_of(context).tokens(), shown.id)


def _made_with(known: Iterable[Token], token_id: str) -> list[str]:
    """This one, those made with it, and so on."""
    made: dict[str | None, list[str]] = {}
    for one in known:
        made.setdefault(one.made_with, []).append(one.id)
    found, waiting = dict.fromkeys([token_id]), [token_id]
    while waiting:
        more = [one for one in made.get(waiting.pop(), []) if one not in found]
        found.update(dict.fromkeys(more))
        waiting += more
    return list(found)


def record_of(one: Token, state: TokenState) -> TokenRecord:
    return TokenRecord(
        token_id=one.id,
        principal_id=one.principal,
        name=one.name,
        projects=None if one.projects is None else list(one.projects),
        rights=None if one.rights is None else list(one.rights),
        status=state,
        created_at=format_time(one.created_at),
        created_by=one.created_by,
        expires_at=format_time(one.expires_at),
        revoked_at=format_time(one.revoked_at) if one.revoked_at else None,
    )
