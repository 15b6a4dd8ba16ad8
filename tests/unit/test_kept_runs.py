"""Which runs are kept, as a gateway remembers it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from messages.records import RecordsKept
from services.gateway.views.kept_runs import READ_SECS, KeptRuns
from shared import keeping
from shared.keeping import KeptRun
from shared.objects.base import Page
from shared.objects.local import LocalObjectStore
from shared.samples import KnownSamples
from voxloom.ids import new_id
from voxloom.models import utc_now


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting(LocalObjectStore):
    lists = 0

    async def list(self, *args: Any, **more: Any) -> Page:
        self.lists += 1
        return await super().list(*args, **more)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Counting]:
    store = Counting(tmp_path / "objects")
    await store.open()
    try:
        for run, kept in (("kept", True), ("gone", False)):
            await note(store, run, kept=kept)
        yield store
    finally:
        await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(run: str, *, kept: bool) -> RecordsKept:
    return RecordsKept(subject=new_id(), runs=[run], kept=kept)


async def note(store: LocalObjectStore, run: str, *, kept: bool) -> None:
    await keeping.write_run(store, KnownSamples(store), run, KeptRun(kept=kept, project="default", time=utc_now()))


async def test_what_the_notes_say_is_read_once(store: Counting, clock: Clock) -> None:
    known = KeptRuns(store, clock)
    before = store.lists
    assert [await known.has(run) for run in ("kept", "gone", "other")] == [True, False, False]
    assert store.lists - before == 1


async def test_what_is_heard_counts_at_once(store: Counting, clock: Clock) -> None:
    known = KeptRuns(store, clock)
    await known.has("kept")
    known.hear(told("kept", kept=False))
    known.hear(told("other", kept=True))
    assert [await known.has(run) for run in ("kept", "other")] == [False, True]


async def test_what_nobody_has_told_of_is_found_after_a_while(store: Counting, clock: Clock) -> None:
    known = KeptRuns(store, clock)
    await known.has("kept")
    await note(store, "other", kept=True)
    assert not await known.has("other")
    clock.now += READ_SECS
    assert await known.has("other")
