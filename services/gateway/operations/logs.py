"""The log of a run, wherever it is: heard so far, in the record, or in the store."""

from __future__ import annotations

from messages.runs import Task
from services.gateway.context import Context
from services.gateway.views.runs import LiveRun
from shared.objects.base import ObjectInfo
from shared.records.store import COLLECTIONS
from voxloom.errors import NotFound

SHOWN = 1 << 20
"""Characters of a log that a record shows whole; of a longer one, its beginning and end."""


def log_in_memory(run: LiveRun) -> str:
    """What was heard so far; after the end, what the record has: of a long log, its beginning and end."""
    stage = run.state.stage
    if run.state.ended:
        return stage.result.log if stage is not None and stage.result is not None else ""
    return run.log.text() if run.log is not None else ""


async def stored_log(context: Context, run: LiveRun) -> ObjectInfo | None:
    """The object with the whole log, where the log was too long for the record."""
    stage = run.state.stage
    if stage is None or stage.result is None or stage.result.log_key is None:
        return None
    try:
        return await context.store.head(COLLECTIONS[_task(run)], stage.result.log_key)
    except NotFound:
        return None  # It has expired, or could not be kept: then the record has all that is left.


async def shown_log(context: Context, run: LiveRun) -> str:
    """What a record shows of the log: all up to SHOWN, else its beginning and end and where to find the rest."""
    text = log_in_memory(run)
    stored = await stored_log(context, run) if run.state.ended else None
    if stored is not None and stored.size <= SHOWN:
        return (await context.store.get(COLLECTIONS[_task(run)], stored.key)).decode(errors="replace")
    if stored is None and len(text) <= SHOWN:
        return text
    return f"{_ends(text)}\n[The whole log: GET /api/v1/{_task(run)}s/{run.state.run}/log]\n"


def _task(run: LiveRun) -> Task:
    assert run.state.work is not None
    return run.state.work.task


def _ends(text: str) -> str:
    if len(text) <= SHOWN:
        return text
    half = SHOWN // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters are not shown here …]\n{text[-half:]}"
