"""What keeps `data-store` right over time: what was forgotten goes, and what an unfinished run needs stays.

`held/<run>` and `held/sample-<id>` in `data-store` are lists of the files that do not expire because of that run or
sample.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import orjson

from shared import files, keeping
from shared.file_names import UPLOADS
from shared.objects.base import AT_ONCE, EXPIRING, ObjectInfo, ObjectStore, list_all
from shared.records.fold import RunState
from shared.records.store import RecordStore
from shared.samples import files_of, load
from voxloom.errors import InvalidInput, NotFound
from voxloom.models import SampleRecord, Status

FORGOTTEN_AFTER = timedelta(hours=24)
HOLD_AFTER = timedelta(hours=1)
"""Runs that take less never come near the time when their files expire."""

_HELD = "held/"


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


async def hold_files(
    store: ObjectStore, runs: Iterable[RunState], samples: Iterable[SampleRecord], now: datetime
) -> None:
    """Keeps the files of samples, and of runs that take long, from expiring, and lets those of ended runs and deleted
    samples expire from now on."""
    wanted = {run.run: await _files_of(store, run) for run in runs if _takes_long(run, now)}
    wanted |= {_held_by(sample.sample_id): set(files_of(sample)) for sample in samples}
    held = {holder: ids async for holder, ids in _held(store)}
    for holder, ids in wanted.items():
        await _hold(store, holder, ids, held.get(holder, set()))
    still = set().union(*wanted.values())
    for holder in held.keys() - wanted.keys():
        free = held[holder] - still
        await _tag(store, free - await keeping.kept_among(store, free), EXPIRING)
        if kept := await keeping.kept_among(store, free):  # Somebody may have kept one of them in between.
            await keeping.settle_files(store, kept)
        await store.delete(files.COLLECTION, _HELD + holder)


async def hold_sample(store: ObjectStore, sample_id: str) -> None:
    """Keeps the files of a new sample from expiring."""
    try:
        sample = await load(store, sample_id)
    except NotFound:  # It was deleted as soon as it was made.
        return
    await _hold(store, _held_by(sample_id), set(files_of(sample)), set())


async def _hold(store: ObjectStore, holder: str, ids: set[str], before: set[str]) -> None:
    if new := ids - before:
        await store.put(files.COLLECTION, _HELD + holder, orjson.dumps(sorted(ids | before)))
        await _tag(store, new, {})


def _held_by(sample_id: str) -> str:
    return f"sample-{sample_id}"


def _takes_long(run: RunState, now: datetime) -> bool:
    return not run.ended and run.submitted is not None and now - run.submitted > HOLD_AFTER


async def _files_of(store: ObjectStore, run: RunState) -> set[str]:
    ids = set(run.work.input_dataset_ids) if run.work else set()
    async for note in list_all(store, files.COLLECTION, files.staged_prefix(run.run)):
        try:
            ids.update(orjson.loads(await store.get(files.COLLECTION, note.key)))
        except NotFound:  # Swept meanwhile.
            continue
    return ids


async def _held(store: ObjectStore) -> AsyncIterator[tuple[str, set[str]]]:
    async for item in list_all(store, files.COLLECTION, _HELD):
        yield _id(item), set(orjson.loads(await store.get(files.COLLECTION, item.key)))


async def _tag(store: ObjectStore, ids: Iterable[str], tags: Mapping[str, str]) -> None:
    keys = [key for file_id in ids for key in (files.bytes_key(file_id), files.entry_key(file_id))]
    for start in range(0, len(keys), AT_ONCE):
        await asyncio.gather(*(_tag_one(store, key, tags) for key in keys[start : start + AT_ONCE]))


async def _tag_one(store: ObjectStore, key: str, tags: Mapping[str, str]) -> None:
    with suppress(NotFound, InvalidInput):  # It is gone, or was no file's id in the first place.
        await store.set_tags(files.COLLECTION, key, tags)
