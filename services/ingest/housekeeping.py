"""What keeps `data-store` right over time: what was forgotten goes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from shared import files
from shared.file_names import UPLOADS
from shared.objects.base import ObjectInfo, ObjectStore, list_all
from shared.records.store import RecordStore
from voxloom.errors import NotFound
from voxloom.models import Status

FORGOTTEN_AFTER = timedelta(hours=24)


async def sweep_forgotten(store: ObjectStore, now: datetime) -> int:
    """Removes bytes that were uploaded but never announced (their gateway has died). Returns how many files."""
    committed = {_id(item) async for item in list_all(store, files.COLLECTION, "entries/")}
    removed = 0
    async for item in list_all(store, files.COLLECTION, "files/"):
        if now - item.modified < FORGOTTEN_AFTER or _id(item) in committed:
            continue
        if await _is_forgotten(store, item):
            await store.delete(files.COLLECTION, item.key)
            removed += 1
    return removed


async def sweep_uploads(store: ObjectStore, now: datetime) -> int:
    """Removes what was put through a URL and never used. Returns how many."""
    old = [
        item.key async for item in list_all(store, files.COLLECTION, UPLOADS) if now - item.modified >= FORGOTTEN_AFTER
    ]
    await store.delete(files.COLLECTION, *old)
    return len(old)


async def _is_forgotten(store: ObjectStore, item: ObjectInfo) -> bool:
    if item.metadata.get("run"):
        return False
    try:
        found = await files.locate(store, _id(item))
    except NotFound:
        return False
    return found.run is None and not found.committed


async def sweep_late(store: ObjectStore, records: RecordStore, known: Collection[str], now: datetime) -> int:
    """Removes what attempts have posted after their runs had ended and were swept. Returns how many files.

    `known` are the runs that the recorder still works on; of those that have no record any more only the notes go.
    """
    notes = [
        item
        async for item in list_all(store, files.COLLECTION, "staged/")
        if now - item.modified >= FORGOTTEN_AFTER and _run_of(item) not in known
    ]
    removed = 0
    for run in {_run_of(note) for note in notes}:
        state = await records.load_run(run)
        if state is None:
            await store.delete(files.COLLECTION, *(note.key for note in notes if _run_of(note) == run))
        else:
            keep = state.attempt if state.status is Status.COMPLETED else None
            removed += await files.sweep(store, run, keep_attempt=keep)
    return removed


def _run_of(note: ObjectInfo) -> str:
    return note.key.split("/")[1]


def _id(item: ObjectInfo) -> str:
    return item.key.partition("/")[2]
