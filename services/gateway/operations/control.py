"""What all changes of who may do what have in common: written under a condition, then told to all gateways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from messages.control import ControlChanged
from services.gateway.context import Context
from shared.audit.doing import doing
from shared.caller import Caller, Right
from shared.control.directory import Directory
from shared.control.objects import RESERVED, ControlObject, Principal, Unreadable
from shared.control.store import ControlStore
from shared.control.view import ControlView
from shared.objects.base import ABSENT, Condition
from voxloom.errors import Conflict, ControlUnavailable, InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.values import utc_now

TRIES = 10
_C = TypeVar("_C", bound=ControlObject)


def view_of(context: Context) -> ControlView:
    """Raises Conflict where the server asks nobody who they are, so that there is nothing to keep of it."""
    if context.control is None:
        raise Conflict(
            'This server asks nobody who they are; start it with `auth = "closed"`, and there are principals, projects '
            "and tokens.",
            code="auth_is_open",
        )
    return context.control


def directory_of(context: Context) -> Directory:
    return view_of(context).directory


def reach_of(context: Context, caller: Caller) -> Mapping[str, frozenset[Right]]:
    """By project: what the caller may do there."""
    directory = directory_of(context)
    token = directory.token(caller.token)
    return directory.reach(token) if token is not None else {}


def may_all(context: Context, caller: Caller) -> bool:
    """Whether the caller may do what concerns the whole server, whatever project the request is for."""
    directory = directory_of(context)
    token = directory.token(caller.token)
    return token is not None and directory.is_admins(token)


def principal_of(context: Context, principal_id: str) -> Principal:
    """Raises NotFound (`principal_not_found`), also for one who was removed."""
    found = directory_of(context).principal(principal_id)
    if found is None or found.removed:
        raise not_found("principal", principal_id)
    return found


def made_at(context: Context, principal_id: str) -> datetime:
    """What a token of theirs that is made now says of that. Another gateway's clock may be ahead of this one's, and has
    logged them out everywhere a moment ago."""
    owner = directory_of(context).principal(principal_id)
    return max(utc_now(), owner.not_before) if owner is not None and owner.not_before is not None else utc_now()


def check_free(name: str) -> None:
    """Raises InvalidInput for a name that means something else."""
    if name in RESERVED:
        raise InvalidInput(f"The name {name!r} is taken by Voxloom itself; choose another one.", code="name_reserved")


async def tell(context: Context, *keys: str) -> None:
    """Returns once all gateways that answer after this know it."""
    told = doing()
    event = ControlChanged(subject=new_id(), actor=told.actor if told is not None else None, keys=sorted(keys))
    view = view_of(context)
    view.hear(event)  # first: here it counts also where nobody else can be told
    try:
        await view.be_current()
    finally:
        await context.bus.publish(event)


async def change(context: Context, key: str, kind: type[_C], make: Callable[[_C | None], _C | None]) -> _C | None:
    """Writes what `make` makes of what is there, and again where somebody else was quicker. None: it stays as it is.
    Nothing is told. Raises Conflict and ControlUnavailable."""
    store = ControlStore(context.store)
    for _ in range(TRIES):
        found = await store.find(key)
        old = checked(found[0], kind) if found is not None else None
        new = make(old)
        if new is not None and old is not None:
            new = new.in_place_of(old)
        if new is None or new == old:
            return new
        await write_down(key)
        try:
            await store.put(new, ABSENT if found is None else Condition(etag=found[1]))
        except Conflict:
            continue
        return new
    raise Conflict("Others change this at the same time; try again.", code="changed_meanwhile")


async def create(context: Context, one: ControlObject) -> None:
    """Writes what was not there. Nothing is told. Raises Conflict."""
    await write_down(one.key)
    await ControlStore(context.store).create(one)


async def take_away(context: Context, *keys: str) -> None:
    """Nothing is told."""
    if keys:
        await write_down(*keys)
        await ControlStore(context.store).remove(*keys)


async def write_down(*keys: str) -> None:
    """Before these are changed: that it is about to be done goes into the audit. All changes come by here. Raises
    AuditUnavailable."""
    if (told := doing()) is not None:
        await told.begin(*keys)


def checked(found: ControlObject | Unreadable, kind: type[_C]) -> _C:
    if not isinstance(found, kind):
        raise ControlUnavailable(
            f"The object {found.key!r} of the control store cannot be read, so it cannot be changed. A newer version "
            "of Voxloom has written it, or it is damaged."
        )
    return found


def not_found(what: str, name: str) -> NotFound:
    return NotFound(
        f"There is no {what} {name[:100]!r}, or it is not for you to see.",
        code=f"{what}_not_found",
        details={f"{what}_id": name[:100]},
    )
