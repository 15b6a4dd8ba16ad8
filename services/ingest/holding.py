"""What samples and unfinished runs need does not expire.

`held/<run>` and `held/sample-<id>` in `data-store` are lists of the files that do not expire because of that run or
sample. A gateway writes that of a run whose inputs are near their end, before it says that the run is wanted
(shared/holding.py); all others are written here. A sample never changes, so that its list is read only when it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

import orjson

from shared import files, keeping
from shared.holding import HELD, HELD_BY_SAMPLES, hold
from shared.objects.base import ObjectInfo, ObjectStore, list_all
from shared.records.fold import RunState
from shared.samples import KnownSamples, files_of, load
from voxloom.errors import NotFound

HOLD_AFTER = timedelta(hours=1)
"""Of runs that take less, a gateway has held what is near its end."""
LET_GO_AT_ONCE = 1000
LATE = timedelta(hours=1)
"""How long news of a run may be on its way to the recorder's snapshot, by clocks that differ."""


async def hold_files(
    store: ObjectStore, runs: Iterable[RunState], samples: KnownSamples, now: datetime, known: datetime | None = None
) -> None:
    """Keeps the files of samples, and of runs that take long, from expiring, and lets those of ended runs and deleted
    samples expire from now on. `runs` are all that have not ended of those that were asked for until `known`."""
    unfinished = {run.run: run for run in runs if not run.ended}
    there = {_holder(item): item async for item in list_all(store, files.COLLECTION, HELD)}
    wanted = {_of_sample(sample.sample_id): sample for sample in await samples.all()}  # after the lists were listed
    for holder in wanted.keys() - there.keys():
        await hold(store, holder, files_of(wanted[holder]))
    for run in unfinished.values():
        if run.run in there or _takes_long(run, now):
            await hold(store, run.run, await _files_of(store, run))
    over = sorted(there.keys() - wanted.keys() - unfinished.keys())
    loose = [one for one in over if may_go(one, there[one].modified, known or now)]
    for start in range(0, len(loose), LET_GO_AT_ONCE):
        await keeping.let_go(store, samples, *loose[start : start + LET_GO_AT_ONCE])


async def hold_sample(store: ObjectStore, sample_id: str) -> None:
    """Keeps the files of a new sample from expiring."""
    try:
        sample = await load(store, sample_id)
    except NotFound:  # It was deleted as soon as it was made.
        return
    await hold(store, _of_sample(sample_id), files_of(sample))


def _of_sample(sample_id: str) -> str:
    return f"sample-{sample_id}"


def _holder(item: ObjectInfo) -> str:
    return item.key.removeprefix(HELD)


def _takes_long(run: RunState, now: datetime) -> bool:
    return run.submitted is not None and now - run.submitted > HOLD_AFTER


def may_go(holder: str, written: datetime, known: datetime) -> bool:
    """Whether nobody needs this list any more, of what is in no snapshot: one of a run may be so new that the snapshot
    of what was said until `known` has nothing of it yet."""
    return (HELD + holder).startswith(HELD_BY_SAMPLES) or written < known - LATE


async def _files_of(store: ObjectStore, run: RunState) -> set[str]:
    ids = set(run.work.input_dataset_ids) if run.work else set()
    async for note in list_all(store, files.COLLECTION, files.staged_prefix(run.run)):
        with suppress(NotFound):  # Swept meanwhile.
            ids.update(orjson.loads(await store.get(files.COLLECTION, note.key)))
    return ids
