"""What a project may take at most: who sets it, who is told, and what is refused at the door because of it.

How many runs workers have at a time, and whose turn it is, is for the scheduler to see to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from messages.runs import Work
from services.gateway.context import Context
from services.gateway.http.bodies import Body
from services.gateway.operations import projects
from services.gateway.operations.control import directory_of
from shared.caller import Caller
from shared.control.objects import Limits
from voxloom.errors import Conflict, TooMany, Unavailable
from voxloom.limits import narrower
from voxloom.models import LimitsRecord, LimitsRequest, LimitsUsed

COUNTED_SECS = 5.0
"""How long whoever asks what is used waits for what is stored to be counted."""

# --- said and asked -------------------------------------------------------------------------------------------------


async def find(context: Context, caller: Caller, project_id: str) -> LimitsRecord:
    """Raises NotFound (`project_not_found`), also for one of others."""
    projects.find(context, caller, project_id)
    said = projects.said_of(directory_of(context).limits(project_id), LimitsRequest)
    return LimitsRecord(project_id=project_id, used=await _used(context, project_id), **said)


async def _used(context: Context, project: str) -> LimitsUsed:
    lines = context.view.lines
    try:
        stored = await context.stored.of(project, within=COUNTED_SECS)
    except Unavailable:
        stored = None
    return LimitsUsed(runs_at_once=lines.held_of(project), runs_waiting=lines.waiting_of(project), stored_bytes=stored)


async def put(context: Context, caller: Caller, project_id: str, wanted: LimitsRequest) -> LimitsRecord:
    """In place of those that were. Raises NotFound (`project_not_found`)."""
    projects.find(context, caller, project_id)
    projects.check_there(context, project_id)
    await projects.replace(context, caller, Limits, project_id, wanted)
    return await find(context, caller, project_id)


def limits_of(context: Context, project: str) -> Limits | None:
    """None: there are none, or the server asks nobody who they are."""
    return None if context.control is None else context.control.directory.limits(project)


# --- runs at the door -----------------------------------------------------------------------------------------------


class Entry:
    """Of one run that somebody asks for, until it is known to wait: of many at once, no more get in than may."""

    def __init__(self, context: Context, project: str) -> None:
        self._context = context
        self._project = project
        self._is_in = False

    async def enter(self) -> None:
        """Raises TooMany (`too_many_runs_waiting`), Conflict (`stored_bytes_exceeded`), Unavailable."""
        limits = limits_of(self._context, self._project)
        if limits is None:
            return
        self._check_waiting(limits)
        self._context.entering[self._project] += 1
        self._is_in = True
        if limits.stored_bytes is not None:
            used = await _stored(self._context, self._project)
            if used >= limits.stored_bytes:
                raise _stored_bytes(self._project, limits.stored_bytes, used, "the run")

    def _check_waiting(self, limits: Limits) -> None:
        waiting = self._context.view.lines.waiting_of(self._project) + self._context.entering[self._project]
        if limits.runs_waiting is not None and waiting >= limits.runs_waiting:
            raise TooMany(
                f"{waiting} runs of the project {self._project!r} wait, and no more than {limits.runs_waiting} may. "
                "Send this one again when some have begun; an admin can raise the limit.",
                code="too_many_runs_waiting",
                details={"project_id": self._project, "runs_waiting": waiting, "limit": limits.runs_waiting},
            )

    def leave(self) -> None:
        if self._is_in:
            self._context.entering[self._project] -= 1


@contextmanager
def entry_of(context: Context, caller: Caller) -> Iterator[Entry]:
    entry = Entry(context, caller.project)
    try:
        yield entry
    finally:
        entry.leave()


async def within(context: Context, caller: Caller, work: Work) -> Work:
    """The work as far as its project may do it. Raises Conflict (`device_not_allowed`)."""
    limits = limits_of(context, caller.project)
    if limits is None:
        return work
    if limits.max_wall_time is not None:
        shorter = narrower(work.wall_time, limits.max_wall_time)  # for workers that know no limits of projects
        work = work.model_copy(update={"wall_time": shorter, "project_wall_time": limits.max_wall_time})
    if limits.devices is None:
        return work
    allowed = [device for device in await _possible(context, caller, work) if device in limits.devices]
    if not allowed:
        raise _device_not_allowed(caller.project, work, limits.devices)
    return work.model_copy(update=_moved(work, allowed))


async def _possible(context: Context, caller: Caller, work: Work) -> list[str]:
    """Device classes that will do. Where nobody has asked for one by name, it may be any that the algorithm knows."""
    if work.device_override is not None:
        return work.devices
    entry = await context.algorithms.get(caller, work.algorithm.algorithm_id)
    return list(dict.fromkeys([*work.devices, *entry.about.supported_devices]))


def _moved(work: Work, allowed: Sequence[str]) -> dict[str, Any]:
    kept = [device for device in work.devices if device in allowed] or list(allowed[:1])
    if kept[0] == work.devices[0]:
        return {"devices": kept}
    said = f"The project may not use the device {work.devices[0]!r}; the run goes to {kept[0]!r}."
    warning = f"{work.device_warning} {said}" if work.device_warning else said
    return {"devices": kept, "device_warning": warning}


def _device_not_allowed(project: str, work: Work, allowed: tuple[str, ...]) -> Conflict:
    wanted = work.devices
    return Conflict(
        f"The run can use {' or '.join(wanted)}, and the project {project!r} may use only {', '.join(allowed)}. Ask "
        "for another device, or an admin for another limit.",
        code="device_not_allowed",
        details={"project_id": project, "devices": wanted, "allowed": list(allowed)},
    )


# --- bytes at the door ----------------------------------------------------------------------------------------------


class Charge:
    """Bytes that are on their way into a project's files: of many uploads at once, no more get in than there is room
    for."""

    def __init__(self, context: Context, project: str) -> None:
        self._context = context
        self._project = project
        self._limit: int | None = None
        self._taken = 0

    async def of(self, body: Body) -> Body:
        """The body, as long as there is room for it. Raises Conflict (`stored_bytes_exceeded`), also when it is read;
        Unavailable."""
        await self.begin(body.size or 0)
        return body if self._limit is None else replace(body, chunks=self._counted(body.chunks))

    async def begin(self, size: int) -> None:
        """So many bytes are said to come. Where there is room for none, there is for no file. Raises as `of` does."""
        limits = limits_of(self._context, self._project)
        if limits is not None and limits.stored_bytes is not None:
            self._limit = limits.stored_bytes
            await _stored(self._context, self._project)
            self._take(max(1, size), self._limit)

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if self._limit is not None:
                self._take(size, self._limit)
            yield chunk

    def _take(self, size: int, limit: int) -> None:
        """So many in all."""
        more = max(0, size - self._taken)
        used = self._context.stored.known(self._project) + self._context.arriving[self._project]
        if used + more > limit:
            raise _stored_bytes(self._project, limit, used, "the file")
        self._taken += more
        self._context.arriving[self._project] += more

    def leave(self) -> None:
        self._context.arriving[self._project] -= self._taken


@contextmanager
def charge_of(context: Context, caller: Caller) -> Iterator[Charge]:
    charge = Charge(context, caller.project)
    try:
        yield charge
    finally:
        charge.leave()


async def check_stored(context: Context, caller: Caller) -> None:
    """Where the bytes are counted only when they are there. Raises Conflict (`stored_bytes_exceeded`), Unavailable."""
    with charge_of(context, caller) as charge:
        await charge.begin(0)


async def _stored(context: Context, project: str) -> int:
    return await context.stored.of(project, within=context.settings.answer_timeout)


def _stored_bytes(project: str, limit: int, used: int, what: str) -> Conflict:
    return Conflict(
        f"The files of the project {project!r} have {used} bytes, and {limit} are allowed: there is no room for {what}."
        " Delete files (`voxloom rm files`), or ask an admin for more.",
        code="stored_bytes_exceeded",
        details={"project_id": project, "stored_bytes": used, "limit": limit},
    )
