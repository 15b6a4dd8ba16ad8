"""Files and runs are kept from expiring, and are let go again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from messages.records import RecordsKept
from services.gateway.context import Context
from services.gateway.operations.lifetimes import OF_TASKS, days_of
from services.gateway.operations.runs import NAMING, find_run
from services.gateway.views.runs import LiveRun
from shared import keeping
from shared.caller import Caller
from shared.files import COLLECTION, Located, being_deleted, bytes_key, locate_many
from shared.keeping import Keep, KeptRun
from shared.objects.checks import is_expiring
from shared.records.fold import RunState
from shared.records.store import COLLECTIONS, RecordStore
from shared.records.view import Heard, execution_summary
from voxloom.errors import Conflict, NotFound
from voxloom.ids import new_id
from voxloom.keepmodels import KeepRecord
from voxloom.models import format_time, utc_now


async def expires_at(context: Context, file: Located) -> str | None:
    """When a file may go; None: it stays."""
    days = days_of(context, file.project, "file")
    if days is None:
        return None
    try:
        tags = await context.store.tags(COLLECTION, bytes_key(file.file_id))
    except NotFound:  # It is gone by now.
        return None
    return later(file.info.modified, days) if is_expiring(tags) else None


@lru_cache(4096)
def later(moment: datetime, days: float) -> str | None:
    """None: so late that it is as good as never. Each read of a record asks that."""
    try:
        return format_time(moment + timedelta(days=days))
    except OverflowError:
        return None


# --- files ------------------------------------------------------------------------------------------------------------


async def keep_file(context: Context, caller: Caller, file: Located) -> KeepRecord:
    """Raises NotFound (`file_not_found`) where it expires or is deleted just now."""
    await keeping.keep_file(context.store, context.samples, file.file_id, _note(caller, file.project, kept=True))
    return KeepRecord(kept=True, file_count=1, size_bytes=file.info.size)


async def release_file(context: Context, caller: Caller, file: Located) -> KeepRecord:
    """Where its run is kept, or a sample has it, it stays all the same."""
    await keeping.release_file(context.store, context.samples, file.file_id, _note(caller, file.project, kept=False))
    still = bool(await keeping.kept_among(context.store, [file.file_id]))
    when = await expires_at(context, file)
    return KeepRecord(kept=still, expires_at=when, file_count=1, size_bytes=file.info.size)


def _note(caller: Caller, project: str, *, kept: bool) -> Keep:
    return Keep(kept=kept, project=project, time=utc_now(), by=caller.principal)


# --- runs -------------------------------------------------------------------------------------------------------------


async def with_times(context: Context, run: LiveRun, heard: Heard) -> Heard:
    """Also whether the run is kept, and until when its record stays otherwise."""
    kept = await context.kept_runs.has(run.state.run)
    return heard._replace(kept=kept, expires_at=None if kept else record_expires_at(context, run.state))


def record_expires_at(context: Context, state: RunState) -> str | None:
    assert state.work is not None
    days = days_of(context, state.project, OF_TASKS[state.work.task])
    ended = state.stage.time if state.stage is not None and state.ended else None
    return None if days is None or ended is None else later(ended, days)


async def keep_run(context: Context, caller: Caller, run: LiveRun) -> KeepRecord:
    """Raises Conflict where it has not ended, NotFound where its record is deleted just now, and Unavailable where
    that is not known."""
    state = run.state
    _check_ended(state)
    records, before = RecordStore(context.store), await keeping.is_run_kept(context.store, state.run)
    made = await _made_by(context, state)
    try:
        await records.keep_run(state)
        await keeping.write_run(context.store, context.samples, state.run, _run_note(caller, state, made, kept=True))
        await _check_there(context, caller, state)
    except NotFound:
        await records.end_keeping([state.run])
        raise
    except BaseException:
        if not before:
            await keeping.write_run(
                context.store, context.samples, state.run, _run_note(caller, state, made, kept=False)
            )
        raise
    await _tell(context, caller, state, kept=True)
    return await _told(context, state, kept=True)


async def release_run(context: Context, caller: Caller, run: LiveRun) -> KeepRecord:
    """Also of one that somebody has let go already: their process may have died in the middle."""
    state = run.state
    if await keeping.has_note(context.store, state.run):
        made = await _made_by(context, state)
        await keeping.write_run(context.store, context.samples, state.run, _run_note(caller, state, made, kept=False))
    await _tell(context, caller, state, kept=False)
    return await _told(context, state, kept=False)


async def _tell(context: Context, caller: Caller, state: RunState, *, kept: bool) -> None:
    """All gateways. Raises BusUnavailable: it is done all the same, and they find it out by and by."""
    event = RecordsKept(subject=new_id(), project=state.project, actor=caller.actor, runs=[state.run], kept=kept)
    await context.publish(event)


def _check_ended(state: RunState) -> None:
    assert state.work is not None
    task = state.work.task
    if not state.ended:
        raise Conflict(
            f"The {task} has not ended ({state.status}); what it will have made can be kept after that.",
            code=f"{task}_not_ended",
            details={NAMING[task].identifier: state.run, "status": state.status},
        )


async def _check_there(context: Context, caller: Caller, state: RunState) -> None:
    """Whoever deletes the record says so before, and what was said before now is known then. Where it was to go unless
    somebody keeps it, the recorder says whether it does."""
    assert state.work is not None
    await context.catch_up()
    await context.view.doubts.settled(state.run, within=context.settings.answer_timeout)
    await find_run(context, caller, state.work.task, state.run)


async def _made_by(context: Context, state: RunState) -> dict[str, Located]:
    """Its outputs that are still there. An algorithm may return any texts, and so the names of others' files."""
    result = state.stage.result if state.stage is not None else None
    there = await locate_many(context.store, result.outputs if result is not None else [])
    return {file_id: file for file_id, file in there.items() if (file.run, file.project) == (state.run, state.project)}


def _run_note(caller: Caller, state: RunState, made: Iterable[str], *, kept: bool) -> KeptRun:
    assert state.work is not None
    result = state.stage.result if state.stage is not None else None
    return KeptRun(
        kept=kept,
        project=state.project,
        time=utc_now(),
        by=caller.principal,
        files=list(made),
        logs=[result.log_key] if result is not None and result.log_key is not None else [],
        logs_in=COLLECTIONS[state.work.task],
        row=execution_summary(state),
    )


async def _told(context: Context, state: RunState, *, kept: bool) -> KeepRecord:
    result = state.stage.result if state.stage is not None else None
    going = await being_deleted(context.store, result.outputs if result is not None else [])
    # In this order: what begins to go after that finds the note.
    made = [file for file in (await _made_by(context, state)).values() if file.file_id not in going]
    return KeepRecord(
        kept=kept,
        expires_at=None if kept else record_expires_at(context, state),
        record=True,
        log=True,
        file_count=len(made),
        size_bytes=sum(file.info.size for file in made),
    )
