"""Who may ask, and who of them may do everything."""

from __future__ import annotations

from services.gateway.context import Context
from services.gateway.operations.control import change, check_free, checked, directory_of, principal_of, take_away, tell
from shared.caller import Caller
from shared.control.objects import ADMINS, Admins, Member, Password, Principal, Token
from shared.control.store import ControlStore
from voxloom.errors import Conflict
from voxloom.models import PrincipalRecord, PrincipalRequest, format_time, utc_now


def list_all(context: Context) -> list[PrincipalRecord]:
    directory = directory_of(context)
    known = sorted(directory.principals(), key=lambda one: one.id)
    return [_record(one, directory.admins) for one in known if not one.removed]


def find(context: Context, principal_id: str) -> PrincipalRecord:
    """Raises NotFound (`principal_not_found`)."""
    return _record(principal_of(context, principal_id), directory_of(context).admins)


async def put(context: Context, caller: Caller, principal_id: str, wanted: PrincipalRequest) -> PrincipalRecord:
    """Makes or changes one. Who is taken rights from is so before it is told that it is done, who is given some after
    all else about them is written. Raises Conflict (`last_admin`, `principal_removed`)."""
    directory_of(context)
    check_free(principal_id)
    admin = wanted.admin and not wanted.disabled
    told = wanted.model_dump(include={"name", "disabled"}, exclude_none=True)

    def make(old: Principal | None) -> Principal:
        if old is None:
            asked = {"created_at": utc_now(), "created_by": caller.principal}
            return Principal(id=principal_id, **told, **asked)
        if old.removed:
            raise Conflict(
                f"The principal {principal_id!r} was removed, and nobody gets its id again; choose another one.",
                code="principal_removed",
            )
        return old.model_copy(update=told)

    if not admin:
        await _take_admin(context, principal_id)
    await change(context, f"principals/{principal_id}", Principal, make)
    # Somebody else may have done the opposite meanwhile; of an admin who may not ask nothing is left.
    await (_give_admin if admin else _take_admin)(context, principal_id)
    await tell(context, f"principals/{principal_id}", ADMINS)
    return find(context, principal_id)


async def remove(context: Context, principal_id: str) -> None:
    """Their tokens and memberships go; their id stays theirs. Raises NotFound, Conflict (`last_admin`)."""
    principal_of(context, principal_id)
    await _take_admin(context, principal_id)

    def bury(old: Principal | None) -> Principal | None:
        return old and old.model_copy(update={"disabled": True, "removed": True})

    key = f"principals/{principal_id}"
    await change(context, key, Principal, bury)
    await _take_admin(context, principal_id)  # which somebody may have given them meanwhile
    theirs = [
        one.key
        for one in directory_of(context).objects.values()
        if isinstance(one, Member | Password | Token) and one.principal == principal_id
    ]
    await take_away(context, *theirs)
    await tell(context, key, ADMINS, *theirs)


async def _give_admin(context: Context, principal_id: str) -> None:
    def make(old: Admins | None) -> Admins:
        known = old.principals if old is not None else ()
        return Admins(principals=tuple(dict.fromkeys((*known, principal_id))))

    await change(context, ADMINS, Admins, make)
    if not await _may_ask(context, principal_id):  # Somebody has disabled or removed them meanwhile.
        await _take_admin(context, principal_id)


async def _take_admin(context: Context, principal_id: str) -> None:
    """Raises Conflict (`last_admin`) where none would be left who could do anything."""
    others = [one for one in await _known_admins(context) if one != principal_id]
    able = {one for one in others if await _may_ask(context, one)}

    def make(old: Admins | None) -> Admins | None:
        if old is None or principal_id not in old.principals:
            return old
        left = tuple(one for one in old.principals if one != principal_id)
        if able.isdisjoint(left):
            raise Conflict(
                f"{principal_id!r} is the last admin, and without one nobody could let anybody in; make another one "
                "first.",
                code="last_admin",
            )
        return Admins(principals=left)

    await change(context, ADMINS, Admins, make)


async def _known_admins(context: Context) -> tuple[str, ...]:
    found = await ControlStore(context.store).read(ADMINS)
    return checked(found, Admins).principals if found is not None else ()


async def _may_ask(context: Context, principal_id: str) -> bool:
    found = await ControlStore(context.store).read(f"principals/{principal_id}")
    return isinstance(found, Principal) and found.may_ask


def _record(one: Principal, admins: tuple[str, ...]) -> PrincipalRecord:
    return PrincipalRecord(
        principal_id=one.id,
        name=one.name,
        admin=one.id in admins,
        disabled=one.disabled,
        created_at=format_time(one.created_at),
        created_by=one.created_by,
    )
