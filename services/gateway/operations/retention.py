"""How long a project keeps its files and the records of its runs: no longer than the server, which removes what is over
its own time; what a project keeps for less is taken away here, by and by.

Nothing goes that somebody keeps, that a sample has, or that a run which has not ended needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from messages.control import SYSTEM
from services.gateway.context import Context
from services.gateway.http.paging import PageQuery
from services.gateway.operations import files, projects
from services.gateway.operations.control import directory_of
from services.gateway.operations.lifetimes import OF_TASKS, Things, days_in, servers
from services.gateway.operations.project_things import remove_each
from services.gateway.operations.runs import delete_records
from services.gateway.views.files import Query
from shared.caller import NOBODY_ASKED, Caller
from shared.control.objects import ALL_RIGHTS, Retention
from shared.expiry import ExpiryClock
from shared.files import Located
from shared.keeping import runs_kept_among
from shared.objects.base import AT_ONCE
from shared.outages import Outage
from voxloom.errors import InvalidInput, VoxloomError
from voxloom.ids import new_id
from voxloom.models import AuditEntry, RetentionDays, RetentionRecord, format_time, utc_now

AGAIN_SECS = 600.0
KNOWN_AFTER = timedelta(seconds=60)
"""What was set so long ago every gateway knows, and holds the inputs of new runs by it."""
PAGE = 64
COUNT_SECS = 60.0
"""How long it may take to find out whose the files in the store are; else it is looked at the next time."""

log = logging.getLogger("voxloom.gateway")


class Over(NamedTuple):
    """What of a project is to go: what was made, or has ended, before this."""

    project: str
    things: Things
    before: datetime


# --- said and asked -------------------------------------------------------------------------------------------------


def find(context: Context, caller: Caller, project_id: str) -> RetentionRecord:
    """Raises NotFound (`project_not_found`), also for one of others."""
    projects.find(context, caller, project_id)
    said = projects.said_of(directory_of(context).retention(project_id), RetentionDays)
    return RetentionRecord(project_id=project_id, server=servers(context.settings), **said)


async def put(context: Context, caller: Caller, project_id: str, wanted: RetentionDays) -> RetentionRecord:
    """In place of what was. Raises NotFound (`project_not_found`), NotAllowed (`forbidden`), InvalidInput
    (`retention_too_long`)."""
    projects.check_manages(context, caller, project_id, "How long a project keeps what it has")
    _check_not_longer(wanted, servers(context.settings))
    await projects.replace(context, caller, Retention, project_id, wanted)
    return find(context, caller, project_id)


def _check_not_longer(wanted: RetentionDays, server: RetentionDays) -> None:
    for name in RetentionDays.model_fields:
        days, most = getattr(wanted, name), getattr(server, name)
        if days is not None and most is not None and days > most:
            raise InvalidInput(
                f"The server itself removes such things after {most:g} days, so {name} can be {most:g} at most. Keep "
                "what is to stay for longer (`voxloom keep`), or ask whoever runs the server for more.",
                code="retention_too_long",
                details={"name": name, "days": days, "server_days": most},
            )


# --- removed --------------------------------------------------------------------------------------------------------


OVER_KINDS: tuple[Things, ...] = ("file", "execution", "training")


def overdue(known: Iterator[Retention], server: RetentionDays, now: datetime) -> Iterator[Over]:
    """What projects keep for less than the server."""
    for one in known:
        for things in OVER_KINDS:
            days, most = days_in(one, things), days_in(server, things)
            if days is not None and (most is None or days < most):
                yield Over(one.project, things, now - timedelta(days=days))


async def keep_letting_go(context: Context, clock: ExpiryClock) -> None:
    """Without end. Several gateways may do so."""
    outage = Outage(log, "what projects keep for less time stays", "what projects keep for less time goes again")
    while True:
        await asyncio.sleep(AGAIN_SECS)
        try:
            await let_go(context, clock.moment(), known_to_all)
        except VoxloomError as error:
            outage.failed(error)
        else:
            outage.over()


def known_to_all(said: Retention) -> bool:
    """Whoever has set it may have a clock that is a little ahead."""
    return abs(utc_now() - said.changed_at) >= KNOWN_AFTER


async def let_go(context: Context, now: datetime, counts: Callable[[Retention], bool] = lambda _: True) -> None:
    """Once. What cannot be done now is done the next time, and keeps nothing else from going. Raises VoxloomError: the
    last of those."""
    assert context.control is not None
    failed: VoxloomError | None = None
    said = filter(counts, context.control.directory.retentions())
    for over in list(overdue(said, servers(context.settings), now)):
        try:
            await _let_these_go(context, over)
        except VoxloomError as error:
            failed = error
    if failed is not None:
        raise failed


@dataclass
class Gone:
    """How many things one pass has removed."""

    count: int = 0


async def _let_these_go(context: Context, over: Over) -> None:
    owner, gone = Caller(NOBODY_ASKED, over.project, ALL_RIGHTS), Gone()
    let_go = _let_files_go if over.things == "file" else _let_records_go
    try:
        await let_go(context, owner, over, gone)
    finally:
        if gone.count and context.auditor is not None:
            context.auditor.log.note(entry_of(over, gone.count))


def entry_of(over: Over, count: int) -> AuditEntry:
    """What the audit has of one pass."""
    return AuditEntry(
        entry_id=new_id(),
        time=format_time(utc_now()),
        action=f"{over.things}.expire",
        outcome="done",
        actor=SYSTEM,
        project=over.project,
        count=count,
        details={"from_before": format_time(over.before)},
    )


async def _let_files_go(context: Context, owner: Caller, over: Over, gone: Gone) -> None:
    async def remove(file: Located) -> None:
        await files.delete(context, owner, file, expired=True)
        gone.count += 1

    known = frozenset(await context.stored.files_of(owner.project, within=COUNT_SECS))
    if not known:
        return
    async for some in _files(context, owner, known, over.before):
        needed = _needed(context)  # as it is now: runs are asked for meanwhile
        await remove_each([file for file in some if file.file_id not in needed], remove)


async def _files(
    context: Context, owner: Caller, known: frozenset[str], before: datetime
) -> AsyncIterator[Sequence[Located]]:
    """Those that nothing holds, the oldest first."""
    page = PageQuery(limit=PAGE)
    while True:
        found = await context.index.page(
            Query(page=page, caller=owner, sort="oldest", among=known, until=before, expiring=True)
        )
        yield found.items
        if found.next_cursor is None:
            return
        page = PageQuery(limit=PAGE, cursor=found.next_cursor)


def _needed(context: Context) -> set[str]:
    """By runs that have not ended."""
    needed: set[str] = set()
    for state in map(context.view.state_of, context.view.unfinished_runs()):
        if state is not None and state.work is not None:
            needed.update(state.work.input_dataset_ids)
    return needed


async def _let_records_go(context: Context, owner: Caller, over: Over, gone: Gone) -> None:
    tasks = [task for task, things in OF_TASKS.items() if things == over.things]
    ended = context.catalog.ended_before(over.project, tasks, over.before)
    for start in range(0, len(ended), AT_ONCE):
        some = ended[start : start + AT_ONCE]
        kept = await runs_kept_among(context.store, some)
        loose = [run for run in some if run not in kept]
        if loose:
            await delete_records(context, owner, over.project, loose, unless_kept=True)
            gone.count += len(loose)
