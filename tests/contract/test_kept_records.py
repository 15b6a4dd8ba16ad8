"""The record of a kept run: its tag follows the note, whoever dies or is faster; and what is deleted is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from messages.runs import AlgorithmPin, Task, Work
from shared import keeping
from shared.keeping import KeptRun
from shared.objects.base import EXPIRING
from shared.objects.local import LocalObjectStore
from shared.records.fold import RunState
from shared.records.store import COLLECTION, COLLECTIONS, RecordStore
from shared.samples import KnownSamples
from voxloom.errors import NotFound
from voxloom.ids import new_id
from voxloom.models import utc_now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    store = LocalObjectStore(tmp_path / "objects")
    await store.open()
    yield store
    await store.close()


def run_of(task: Task = "execution") -> RunState:
    pin = AlgorithmPin(algorithm_id="a", name="a", major="1", minor="0", module="m", assets="i")
    work = Work(task=task, algorithm=pin, input_dataset_ids=[], parameters={}, devices=["cpu"], session_token="s")
    return RunState(run=new_id(), work=work, submitted=utc_now())


def note(*, kept: bool) -> KeptRun:
    return KeptRun(kept=kept, project="default", time=utc_now())


async def keep(store: LocalObjectStore, run: RunState) -> None:
    await RecordStore(store).keep_run(run)
    await keeping.write_run(store, KnownSamples(store), run.run, note(kept=True))


async def test_it_expires_once_the_run_is_let_go(store: LocalObjectStore) -> None:
    run = run_of()
    await keep(store, run)
    kept = await store.tags(COLLECTION, keeping.record_key(run.run))
    await keeping.write_run(store, KnownSamples(store), run.run, note(kept=False))
    assert (kept, await store.tags(COLLECTION, keeping.record_key(run.run))) == ({}, EXPIRING)


@pytest.mark.parametrize(("kept", "wrong"), [(True, EXPIRING), (False, {})])
async def test_upkeep_mends_what_somebody_who_died_has_left(
    store: LocalObjectStore, kept: bool, wrong: dict[str, str]
) -> None:
    run = run_of()
    await keep(store, run)
    await keeping.write_run(store, KnownSamples(store), run.run, note(kept=kept))
    await store.set_tags(COLLECTION, keeping.record_key(run.run), wrong)
    await keeping.restore(store, KnownSamples(store))
    assert await store.tags(COLLECTION, keeping.record_key(run.run)) == ({} if kept else EXPIRING)


@pytest.mark.parametrize("task", COLLECTIONS)
async def test_what_is_deleted_is_gone_whatever_the_task(store: LocalObjectStore, task: Task) -> None:
    run, log = run_of(task), "logs/{}/1"
    await RecordStore(store).save_runs([run])
    await store.put(COLLECTIONS[task], log.format(run.run), b"log")
    await keep(store, run)
    await RecordStore(store).delete_runs([run.run])
    assert await RecordStore(store).load_run(run.run) is None
    with pytest.raises(NotFound):
        await store.get(COLLECTIONS[task], log.format(run.run))
