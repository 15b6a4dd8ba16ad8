"""Inputs of a run that are near their end are held before the run is asked for: it finds them, or it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from messages.runs import Work
from services.gateway.context import Context
from services.gateway.operations.lifetimes import days_of
from shared.caller import Caller
from shared.holding import pin
from shared.keeping import let_go
from voxloom.errors import NotFound
from voxloom.models import utc_now

NEAR = timedelta(hours=24)
"""Of a run that takes long, the upkeep of ingest holds the files after an hour or two."""
_NAMED = 20


async def hold(context: Context, caller: Caller, run: str, work: Work) -> None:
    """Raises NotFound (`input_datasets_not_found`) for inputs that go just now."""
    near = await _near(context, caller, work.input_dataset_ids)
    if near and (gone := await pin(context.store, run, near)):
        await let_go(context.store, context.samples, run)
        named = ", ".join(map(repr, gone[:_NAMED])) + (f" and {len(gone) - _NAMED} more" if gone[_NAMED:] else "")
        raise NotFound(
            f"Input files go just now, since their time is over or somebody deletes them: {named}. Upload them again.",
            code="input_datasets_not_found",
            details={"missing_dataset_ids": gone},
        )


async def _near(context: Context, caller: Caller, file_ids: Sequence[str]) -> list[str]:
    days = days_of(context, caller.project, "file") if file_ids else None
    if days is None:
        return []
    now = max(utc_now(), (await context.store.expiry_clock()).moment())
    return [one for one in file_ids if is_near(context.files.made(one), days, now)]


def is_near(made: datetime | None, days: float, now: datetime) -> bool:
    """Whether a file may go within NEAR. Of what is not known it is taken to be so."""
    return made is None or (now + NEAR - made).total_seconds() >= days * 86_400
