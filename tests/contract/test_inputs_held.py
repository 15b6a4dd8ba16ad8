"""A run is asked for while its input goes: whoever comes first, the file stays, or the run is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from messages.files import FileDeleted, FileDeleteRefused, FileDeleteRequested
from services.gateway.operations.inputs import is_near
from services.ingest.holding import hold_files, may_go
from services.ingest.service import Ingest
from shared import files, keeping
from shared.holding import HELD, list_of, pin
from shared.objects.base import EXPIRING
from shared.objects.local import LocalObjectStore
from shared.records.fold import RunState
from shared.samples import KnownSamples
from tests.contract.platform_support import open_platform
from tests.contract.test_ingest import unfinished
from tests.named import run_named
from tests.unit.memory_platform import memory_platform
from voxloom.models import utc_now

RUN = run_named("run")


class Stepping(LocalObjectStore):
    """Lets somebody else come in between: before the call of that number."""

    calls = 0
    at = -1
    other: Callable[[], Awaitable[Any]]

    async def _step(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.at = -1
            await self.other()

    async def put(self, *args: Any, **more: Any) -> Any:
        await self._step()
        return await super().put(*args, **more)

    async def get(self, *args: Any, **more: Any) -> Any:
        await self._step()
        return await super().get(*args, **more)

    async def head_many(self, *args: Any, **more: Any) -> Any:
        await self._step()
        return await super().head_many(*args, **more)

    async def list(self, *args: Any, **more: Any) -> Any:
        await self._step()
        return await super().list(*args, **more)

    async def set_tags(self, *args: Any, **more: Any) -> None:
        await self._step()
        await super().set_tags(*args, **more)

    async def delete(self, *args: Any, **more: Any) -> None:
        await self._step()
        await super().delete(*args, **more)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Stepping]:
    store = Stepping(tmp_path / "objects")
    await store.open()
    yield store
    await store.close()


async def put_file(store: LocalObjectStore, file_id: str) -> str:
    await LocalObjectStore.put(store, files.COLLECTION, files.bytes_key(file_id), b"bytes", tags=EXPIRING)
    return file_id


async def delete(store: LocalObjectStore, file_id: str) -> bool:
    """As ingest does with a file whose time is over; whether it is gone."""
    ingest = Ingest(memory_platform(store))
    answer = await ingest._delete(FileDeleteRequested(subject=file_id, expired=True))
    return isinstance(answer, FileDeleted)


async def is_there(store: LocalObjectStore, file_id: str) -> bool:
    return bool(await files.locate_many(store, [file_id]))


async def test_whatever_comes_between_its_steps_the_input_stays_or_the_run_is_refused(store: Stepping) -> None:
    outcomes = set()
    for inner, outer in ((delete, ask), (ask, delete)):
        for at in range(1, 30):
            # Given a file whose time is over
            file = await put_file(store, f"{inner.__name__}-{at}")
            inside: list[bool] = []

            async def other(file: str = file, inner: Act = inner, inside: list[bool] = inside) -> None:
                inside.append(await inner(store, file))

            store.calls, store.at, store.other = 0, at, other
            # When it goes, and a run is asked for, the one between two steps of the other
            done = await outer(store, file)
            if not inside:
                break
            asked, gone = (done, inside[0]) if outer is ask else (inside[0], done)
            # Then the run has its input, or it is refused
            assert (asked and gone) is False, (outer.__name__, at)
            assert await is_there(store, file) is not gone, (outer.__name__, at)
            outcomes.add((asked, gone))
            await LocalObjectStore.delete(store, files.COLLECTION, HELD + RUN)
        else:
            pytest.fail("there were more steps than that")
    assert {(True, False), (False, True)} <= outcomes


Act = Callable[[LocalObjectStore, str], Awaitable[bool]]


async def ask(store: LocalObjectStore, file_id: str) -> bool:
    """As a gateway does; whether the run is asked for."""
    return await pin(store, RUN, [file_id]) == []


async def test_a_file_that_is_held_outlives_its_time_until_its_run_has_ended(store: Stepping) -> None:
    file, other = await put_file(store, "a"), await put_file(store, "b")
    await store.set_expiry(files.COLLECTION, 7)
    assert await pin(store, RUN, [file]) == []
    await store.sweep((utc_now() + timedelta(days=8)).timestamp())
    assert [await is_there(store, one) for one in (file, other)] == [True, False]
    await keeping.let_go(store, KnownSamples(store), RUN)
    assert (await store.tags(files.COLLECTION, files.bytes_key(file)), await list_of(store, RUN)) == (EXPIRING, set())


async def test_two_who_ask_for_a_run_under_one_id_hold_what_both_of_them_need(store: Stepping) -> None:
    for name in ("a", "b"):
        await pin(store, RUN, [await put_file(store, name)])
    assert await list_of(store, RUN) == {"a", "b"}


async def test_what_somebody_keeps_stays_when_the_run_has_ended(store: Stepping) -> None:
    file, known = await put_file(store, "a"), KnownSamples(store)
    await pin(store, RUN, [file])
    await keeping.keep_file(store, known, file, keeping.Keep(kept=True, project="default", time=utc_now()))
    await keeping.let_go(store, known, RUN)
    assert await store.tags(files.COLLECTION, files.bytes_key(file)) == {}


@pytest.mark.parametrize(
    ("runs", "hours", "held"),
    [
        ([], 0.0, True),  # It is so new that no snapshot has it.
        ([unfinished(RUN, "a")], 0.5, True),
        ([unfinished(RUN, "a")], 9.0, True),
        ([], 9.0, False),
    ],
)
async def test_upkeep_leaves_what_was_held_until_the_run_is_known_to_be_over(
    store: Stepping, runs: list[RunState], hours: float, held: bool
) -> None:
    file = await put_file(store, "a")
    await pin(store, RUN, [file])
    await hold_files(store, runs, KnownSamples(store), utc_now() + timedelta(hours=hours))
    assert (await store.tags(files.COLLECTION, files.bytes_key(file)) == {}) is held


async def test_the_lists_of_many_runs_that_are_over_are_read_once(store: Stepping) -> None:
    """Each for itself would read those of all others."""
    still = await put_file(store, "still")
    for number in range(20):
        await pin(store, run_named(f"over-{number}"), [await put_file(store, f"{number}"), still])
    await pin(store, RUN, [still])
    store.calls = 0
    await hold_files(store, [unfinished(RUN, "still")], KnownSamples(store), utc_now() + timedelta(hours=9))
    tags = [await store.tags(files.COLLECTION, files.bytes_key(one)) for one in ("0", "19", "still")]
    assert (tags, store.calls < 20 * 20) == ([EXPIRING, EXPIRING, {}], True)


async def test_upkeep_mends_what_a_gateway_that_died_has_left_undone(store: Stepping) -> None:
    file = await put_file(store, "a")
    await store.put(files.COLLECTION, HELD + RUN, b'["a"]')
    await hold_files(store, [unfinished(RUN, "a")], KnownSamples(store), utc_now())
    assert await store.tags(files.COLLECTION, files.bytes_key(file)) == {}


async def test_ingest_refuses_what_a_run_needs(tmp_path: Path) -> None:
    async with open_platform(tmp_path) as (platform, heard):
        assert isinstance(platform.store, LocalObjectStore)
        file = await put_file(platform.store, "a")
        await pin(platform.store, RUN, [file])
        ingest = Ingest(platform)
        await ingest.handle([FileDeleteRequested(subject=file, expired=True)])
        await heard.first(FileDeleteRefused, subject=file)
        assert await is_there(platform.store, file)


# --- decisions --------------------------------------------------------------------------------------------------------

NOW = utc_now()


@pytest.mark.parametrize(
    ("age", "days", "near"),
    [(0.0, 7.0, False), (5.9, 7.0, False), (6.0, 7.0, True), (9.0, 7.0, True), (0.0, 1.0, True), (None, 7.0, True)],
)
def test_a_file_is_near_its_end_a_day_before(age: float | None, days: float, near: bool) -> None:
    made = None if age is None else NOW - timedelta(days=age)
    assert is_near(made, days, NOW) is near


@pytest.mark.parametrize(
    ("holder", "minutes", "goes"),
    [(RUN, 59, False), (RUN, 61, True), (RUN, -5, False), ("sample-s", 0, True), ("sample-s", 90, True)],
)
def test_the_list_of_a_run_goes_once_a_snapshot_would_have_it(holder: str, minutes: int, goes: bool) -> None:
    assert may_go(holder, NOW - timedelta(minutes=minutes), NOW) is goes
