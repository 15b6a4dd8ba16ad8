"""What a project owns: counted, and removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from messages.runs import RunStopRequested
from services.gateway.context import Context
from services.gateway.operations import checkpoints, files, removals, samples
from services.gateway.operations.control import directory_of
from services.gateway.operations.runs import delete_records
from shared.caller import Caller
from shared.control.objects import ALL_RIGHTS, Token
from shared.files import Located
from shared.records.deploys import DEPLOY
from voxloom.errors import Conflict, NotFound
from voxloom.models import ProjectHoldings

AT_ONCE = 16
"""Things that are removed at the same time."""
MOST_COUNTED = 10_000
"""Files; of more it is said that there are so many."""
PAGE = 1000
T = TypeVar("T")


def owner_of(caller: Caller, project: str) -> Caller:
    """Who removes things, as one of the project."""
    return Caller(caller.principal, project, ALL_RIGHTS, token=caller.token)


async def holdings(context: Context, owner: Caller) -> ProjectHoldings:
    project = owner.project
    runs = context.catalog.of_project(project)
    directory = directory_of(context)
    return ProjectHoldings(
        files=await _count(files_of(context, owner)),
        algorithms=len(await context.algorithms.of_project(project)),
        runs_unfinished=sum(not run.ended for run in runs),
        records=sum(run.ended for run in runs),
        deploys_unfinished=len(deploys_unfinished(context, project)),
        samples=len(await samples.all_of(context, owner)),
        checkpoints=len(await checkpoints.all_of(context, owner)),
        members=sum(one.project == project for one in directory.members()),
        tokens=len(tokens_for(directory.tokens(), project)),
    )


async def _count(found: AsyncIterator[Sequence[Located]]) -> int:
    count = 0
    async for some in found:
        count += len(some)
        if count >= MOST_COUNTED:
            return MOST_COUNTED
    return count


async def files_of(context: Context, owner: Caller) -> AsyncIterator[Sequence[Located]]:
    """Those that can be seen. What a run has posted, and not returned, is swept when it has ended. Whose the files of
    a large store are takes a while to find out; that goes on while nobody waits. Raises Unavailable."""
    known = await context.stored.files_of(owner.project, within=context.settings.answer_timeout)
    for start in range(0, len(known), PAGE):
        visible = await context.files.visible_of(known[start : start + PAGE])
        if found := [file for file in visible.values() if file.project == owner.project]:
            yield found


def deploys_unfinished(context: Context, project: str) -> list[str]:
    return [state.identity for state in context.view.of(DEPLOY).going_on() if state.project == project]


def tokens_for(known: Iterable[Token], project: str) -> list[Token]:
    """Those that are good for this project alone."""
    return [one for one in known if one.projects == (project,)]


# --- removed ----------------------------------------------------------------------------------------------------------


async def remove_some(context: Context, owner: Caller) -> bool:
    """Takes what must go first, and then what that has kept; whether there was anything. To be asked until there is
    nothing: what goes on may have made more meanwhile."""
    if await _stop_all(context, owner):
        return True
    for remove in (_samples, _files, _algorithms, _checkpoints, _records):
        if await remove(context, owner):
            return True
    return False


async def _stop_all(context: Context, owner: Caller) -> bool:
    """Whether there is something that has not ended. Each run is asked once."""
    waiting = [run for run in context.catalog.of_project(owner.project) if not run.ended]
    for run in waiting:
        state = context.view.state_of(run.run)
        if state is None or state.stop_requested is None:
            await context.publish(
                RunStopRequested(task=run.task, subject=run.run, project=owner.project, actor=owner.actor)
            )
    return bool(waiting or deploys_unfinished(context, owner.project))


async def _samples(context: Context, owner: Caller) -> bool:
    found = await samples.all_of(context, owner)
    return await remove_each(found, lambda one: samples.delete(context, owner, one.sample_id))


async def _files(context: Context, owner: Caller) -> bool:
    found = False
    async for some in files_of(context, owner):
        found |= await remove_each(some, lambda one: files.delete(context, owner, one))
    return found


async def _algorithms(context: Context, owner: Caller) -> bool:
    found = await context.algorithms.of_project(owner.project)
    return await remove_each(found, lambda one: removals.remove(context, owner, one, None, regardless=True))


async def _checkpoints(context: Context, owner: Caller) -> bool:
    found = await checkpoints.all_of(context, owner)
    return await remove_each(found, lambda one: checkpoints.delete(context, owner, one.checkpoint_id))


async def _records(context: Context, owner: Caller) -> bool:
    """The last: the record of a run says whether its files are there."""
    ended = [run.run for run in context.catalog.of_project(owner.project) if run.ended]
    await delete_records(context, owner, owner.project, ended)
    return bool(ended)


async def remove_each(things: Sequence[T], remove: Callable[[T], Awaitable[None]]) -> bool:
    """Whether there were any. What is gone already, or is still needed by what has come meanwhile, is passed over."""

    async def try_to(thing: T) -> None:
        with suppress(NotFound, Conflict):
            await remove(thing)

    for start in range(0, len(things), AT_ONCE):
        await asyncio.gather(*map(try_to, things[start : start + AT_ONCE]))
    return bool(things)
