"""The recorder on a store that fails and crashes where it hurts most, and beside others who think they are the one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from messages.base import Event
from messages.deploys import DeployRequested
from messages.records import RecordsDeleted, RecordsDeleteRequested
from messages.runs import RunStopRequested
from messages.scheduler import SchedulerAdmitted, SchedulerStarted
from messages.wire import PREFIX, UnknownVersion, encode
from services.recorder import service as recorder_module
from services.recorder.service import Recorder
from shared.journal import AnotherWriter, DamagedJournal
from shared.records import ledger as ledger_module
from shared.records import packs as packs_module
from shared.records.deploys import DEPLOY
from shared.records.fold import RunState, fold
from shared.records.ledger import Ledger, Snapshot
from shared.records.store import COLLECTION, RecordStore
from shared.service import MadeWay, Platform
from tests.unit.memory_platform import (
    Crash,
    MemoryStore,
    NotingBus,
    assigned,
    completed,
    memory_platform,
    requested,
    stored_runs,
    whole,
)
from voxloom.errors import StoreUnavailable


def run_id(number: int) -> str:
    return f"{number:08d}-0000-1000-8000-000000000000"


A, B, C, D, E = (run_id(number) for number in range(1, 6))
ODD = (
    {f"{PREFIX}time": "2026-11-21T02:57:03"},
    {f"{PREFIX}subject": "x" * 5000},
    {f"{PREFIX}subject": "no-uuid"},
    {f"{PREFIX}project": "a.b"},
    {f"{PREFIX}attempt": -1},
    {f"{PREFIX}type": "no event"},
)


def failing(what: str, prefix: str = "", error: type[Exception] = StoreUnavailable) -> Callable[[str, str], None]:
    def fail(operation: str, key: str) -> None:
        if operation == what and key.startswith(prefix):
            raise error("not now")

    return fail


async def load(store: MemoryStore) -> Ledger:
    return await RecordStore(store).load_ledger()


async def test_a_batch_that_cannot_be_stored_is_not_taken_in_and_fails() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    store.before = failing("put")
    with pytest.raises(StoreUnavailable):
        await recorder.record(whole(A))
    assert store.objects == {}


async def test_a_batch_that_is_tried_again_once_the_store_is_back_is_kept() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    store.before = failing("put")
    with suppress(StoreUnavailable):
        await recorder.record(whole(A))
    store.before = MemoryStore().before
    await recorder.record(whole(A))
    assert (await load(store)).runs[A].ended


async def test_a_write_whose_answer_got_lost_is_no_other_writer() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    events = whole(A)
    store.after = failing("put")
    with suppress(StoreUnavailable):
        await recorder.record(events)
    store.after = MemoryStore().after
    await recorder.record(events)
    assert store.keys("segments/") == ["segments/000000000001"]


async def test_a_recorder_that_meets_another_writer_stops() -> None:
    store = MemoryStore()
    one, two = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    await one.record([requested(A)])
    await two.record([requested(B)])
    with pytest.raises(AnotherWriter):
        await one.record([requested(C)])
    assert isinstance(one.failed.exception(), AnotherWriter)


class Served:
    """A subscription that the broker has begun to serve so many times."""

    def __init__(self) -> None:
        self.beginnings = 1


async def test_a_recorder_that_another_has_followed_while_it_was_cut_off_makes_way_without_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a recorder that has lost the broker for a while, and one that was served meanwhile
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    one, two = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    one._served = served = Served()  # type: ignore[assignment]
    await one.record([requested(A)])
    await two.record([requested(B)])
    served.beginnings += 1
    # When it is served again
    with pytest.raises(MadeWay):
        await one.record([requested(C)])
    # Then it ends, and says why in one line
    assert isinstance(one.failed.exception(), MadeWay)
    (line,) = caplog.records
    assert line.levelno == logging.INFO
    assert line.getMessage().startswith("makes way: another recorder has written while this one was cut off")


async def test_a_recorder_that_another_follows_while_it_stops_in_the_middle_of_a_snapshot_ends_in_good_order(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a recorder whose snapshot is under way
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Recorder, "_snapshot_due", lambda *_: True)
    store = MemoryStore()
    one, two = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    await one.record([requested(A)])
    written, followed = asyncio.Event(), asyncio.Event()

    async def save(snapshot: Snapshot) -> str:
        key = await RecordStore(store).save_snapshot(snapshot)
        written.set()
        await followed.wait()
        return key

    monkeypatch.setattr(one._records, "save_snapshot", save)
    task = one.spawn("snapshots", one._keep_snapshots())
    await written.wait()
    # When it stops, and the next one is served and has its snapshot first
    stopping = asyncio.create_task(one.stop())
    await two.record([requested(B)])
    await two._snapshot()
    followed.set()
    await stopping
    # Then it ends, and tells in one line
    assert (task.exception(), one.failed.cancelled()) == (None, True)
    assert [line.getMessage() for line in caplog.records] == ["the next recorder is at work already"]


async def test_a_recorder_that_has_failed_writes_nothing_any_more() -> None:
    store = MemoryStore()
    one, two = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    await one.record([requested(A)])
    await two.record([requested(B)])
    for _ in range(2):
        with suppress(AnotherWriter, MadeWay):
            await one.record([requested(C)])
    before = dict(store.objects)
    await one.stop()
    assert store.objects == before


async def test_a_recorder_that_wakes_after_its_place_was_taken_and_tidied_up_stores_nothing_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a recorder that another one has followed, whose segments are under a snapshot and gone already
    monkeypatch.setattr(recorder_module, "ALONE_SECS", -1.0)
    store = MemoryStore()
    old, new = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    await old.record([requested(A)])
    await new.record([requested(B)])
    await new.record([requested(C)])
    await new._snapshot()
    # When it wakes and goes on with the batch in its hands, then that is not settled
    with pytest.raises(AnotherWriter):
        await old.record([requested(D)])
    await old.stop()
    # And nothing is built on what it may have left
    assert sorted((await load(store)).runs) == [A, B, C]


async def test_an_old_recorder_overwrites_no_rows_of_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "BLOCK", 2)
    store = MemoryStore()
    old, new = Recorder(memory_platform(store)), Recorder(memory_platform(store))
    await old.record([*whole(A), *whole(B)])
    await new.record([*whole(C), *whole(D)])
    for recorder in (new, old):
        await recorder._write_ended()
        with suppress(AnotherWriter):
            await recorder._snapshot()
    rows = await RecordStore(store).load_rows((await load(store)).blocks)
    assert sorted(row.execution_id for row in rows) == [A, B, C, D]


async def test_the_objects_of_deleted_records_go_also_after_a_restart_and_the_others_stay() -> None:
    store = MemoryStore()
    await (first := Recorder(memory_platform(store))).record([*whole(A), *whole(B)])
    await first._write_ended()
    await store.put(COLLECTION, f"logs/{A}/1", b"long")
    await first.record([RecordsDeleteRequested(subject="request", runs=[A])])
    second = Recorder(memory_platform(store))
    await second._load()
    await second._write_ended()
    assert (list(stored_runs(store)), store.keys("logs/")) == ([B], [])


async def test_two_snapshots_at_once_lose_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more rows than a block takes
    monkeypatch.setattr(ledger_module, "BLOCK", 2)
    store = MemoryStore()
    recorder = Recorder(memory_platform(_Slow(store)))
    await recorder.record([event for run in (A, B, C, D, E) for event in whole(run)])
    await recorder._write_ended()
    # When a scheduler is admitted just when the hour for a snapshot has come
    await asyncio.gather(recorder._snapshot(), recorder._snapshot())
    # Then every row is there, once
    ledger = await load(store)
    rows = [*await RecordStore(store).load_rows(ledger.blocks), *ledger.rows]
    assert sorted(row.execution_id for row in rows) == [A, B, C, D, E]


async def test_segments_that_the_snapshot_does_not_cover_stay() -> None:
    store = MemoryStore()
    records = RecordStore(store)
    for number in (1, 2, 3):
        await records.journal.append(number, [requested(run_id(number))])
    await records.journal.drop_before("snapshots/000000000002-000001", 2)
    assert store.keys("segments/") == ["segments/000000000003"]


async def test_a_recorder_that_reads_while_its_predecessor_tidies_up_misses_nothing() -> None:
    # Given a recorder that is on its way out, after some segments
    store = MemoryStore()
    old = Recorder(memory_platform(store))
    for run in (A, B, C):
        await old.record([requested(run)])
    # When its successor begins to read, and the last snapshot with the removal of segments comes in between
    await _while_listing(store, "segments/", old._snapshot)
    new = Recorder(memory_platform(store))
    await new.record([requested(D)])
    # Then the successor goes on where the other has ended
    assert sorted((await load(store)).runs) == [A, B, C, D]
    assert store.keys("segments/") == ["segments/000000000004"]


async def test_a_segment_that_is_missing_stops_the_recorder() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    for run in (A, B, C):
        await recorder.record([requested(run)])
    del store.objects[COLLECTION, "segments/000000000002"]
    again = Recorder(memory_platform(store))
    with pytest.raises(DamagedJournal, match="segment 2"):
        await again.record([requested(D)])
    assert again.failed.done()


async def test_odd_events_that_earlier_versions_have_recorded_do_not_stop_a_start() -> None:
    # Given a segment with events that would be refused today, among good ones
    store = MemoryStore()
    good, odd = encode(requested(A)), encode(requested(B))
    lines = [good.body, *[odd.body] * len(ODD)]
    headers = [good.headers, *({**odd.headers, **more} for more in ODD)]
    data = b"\n".join(orjson.dumps(told) + b"\n" + body for told, body in zip(headers, lines, strict=True))
    await store.put(COLLECTION, "segments/000000000001", data)
    # When a recorder starts and goes on
    await Recorder(memory_platform(store)).record([requested(C)])
    # Then it has all but those
    assert sorted((await load(store)).runs) == [A, C]


@pytest.mark.parametrize("kind", ["voxloom.execution.requested.v3", "voxloom.note.written.v1"])
async def test_what_a_newer_program_has_recorded_stops_an_older_one(kind: str) -> None:
    store = MemoryStore()
    headers = {**encode(requested(A)).headers, f"{PREFIX}type": kind}
    await store.put(COLLECTION, "segments/000000000001", orjson.dumps(headers) + b"\n{}")
    with pytest.raises(UnknownVersion):
        await Recorder(memory_platform(store)).record([requested(C)])


async def test_odd_records_in_an_older_snapshot_do_not_stop_a_start() -> None:
    # Given a snapshot in which some runs, deploys and rows are as nobody could have made them today
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record([requested(A), *whole(B), DeployRequested(subject=C, source_key="s", path="p")])
    await recorder._write_ended()
    key = await recorder._snapshot()
    told = orjson.loads(store.objects[COLLECTION, key])
    run, deploy, row = told["runs"][0], told["deploys"][0], told["rows"][0]
    told["runs"] += [{**run, "run": "x" * 5000}, {**run, "run": "no uuid"}, {**run, "project": "a.b"}]
    told["deploys"].append({**deploy, "asked": {**deploy["asked"], "time": "2026-11-21T02:57:03"}})
    told["rows"].append({**row, "execution_id": "no uuid"})
    store.objects[COLLECTION, key] = orjson.dumps(told)
    # When it is read
    ledger = await load(store)
    # Then all others are there
    known = [*ledger.runs, *ledger.shelf(DEPLOY).states, *(one.execution_id for one in ledger.rows)]
    assert sorted(known) == [A, B, C]


async def test_a_request_that_comes_again_when_its_run_is_forgotten_makes_no_record_anew() -> None:
    # Given a run that has ended so long ago that only its record knows, and one of which there is none
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record(whole(A))
    await recorder._write_ended()
    recorder._ledger.settled.clear()
    # When both are asked for, by a late delivery
    await recorder.record([requested(A), requested(B)])
    # Then one of them is new, and the other's record stays as it was
    assert list(recorder._ledger.runs) == [B]
    assert (await load(store)).runs[A].ended


@pytest.mark.parametrize(("where", "what"), [("runs", {"stage": {}}), ("rows", {"status": "OF TOMORROW"})])
async def test_a_snapshot_that_is_wrong_in_another_way_stops_a_start(where: str, what: dict[str, Any]) -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record([requested(A), *whole(B)])
    await recorder._write_ended()
    key = await recorder._snapshot()
    told = orjson.loads(store.objects[COLLECTION, key])
    told[where][0] |= what
    store.objects[COLLECTION, key] = orjson.dumps(told)
    with pytest.raises(ValidationError):
        await load(store)


async def test_an_admission_comes_after_all_that_was_said_before_is_stored() -> None:
    store, bus = MemoryStore(), NotingBus()
    recorder = Recorder(memory_platform(store, bus))
    await recorder.record([requested(A), SchedulerStarted(subject="one"), requested(B)])
    (admitted,) = bus.published
    assert isinstance(admitted, SchedulerAdmitted)
    snapshot = await RecordStore(store).load_snapshot(admitted.snapshot_key)
    assert snapshot is not None
    assert A in {state.run for state in snapshot.runs}


async def test_whoever_reads_the_newest_snapshot_gets_one_however_often_it_is_replaced_meanwhile() -> None:
    # Given a snapshot that a newer one replaces while somebody is about to read it
    store, bus = MemoryStore(), NotingBus()
    await Recorder(memory_platform(store, bus)).record([SchedulerStarted(subject="one"), requested(A)])
    (old,) = store.keys("snapshots/")
    new = f"{old}-newer"
    replaced: list[str] = []

    def replace(what: str, key: str) -> None:
        if what == "get" and key == old and not replaced:
            replaced.append(key)
            store.objects[COLLECTION, new] = store.objects.pop((COLLECTION, old))

    store.before = replace
    # When it is read, then it is the newer one
    assert await RecordStore(store).load_snapshot() is not None
    assert replaced == [old]


async def test_an_admission_that_is_asked_for_again_is_given_again_under_the_same_epoch() -> None:
    bus = NotingBus()
    recorder = Recorder(memory_platform(bus=bus))
    event = SchedulerStarted(subject="one")
    await recorder.record([event])
    await recorder.record([event])
    assert [said.epoch for said in bus.published if isinstance(said, SchedulerAdmitted)] == [1, 1]


async def test_of_two_that_ask_in_one_breath_the_later_is_admitted() -> None:
    bus = NotingBus()
    recorder = Recorder(memory_platform(bus=bus))
    await recorder.record([SchedulerStarted(subject="one"), SchedulerStarted(subject="two")])
    assert [(said.subject, said.epoch) for said in bus.published if isinstance(said, SchedulerAdmitted)] == [("two", 2)]


async def test_decisions_of_a_scheduler_that_was_replaced_change_no_record() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record([SchedulerStarted(subject="one"), requested(A), assigned(A, epoch=1)])
    await recorder.record([SchedulerStarted(subject="two"), completed(A, epoch=1)])
    assert not (await load(store)).runs[A].ended


async def test_a_store_that_is_full_at_the_end_is_no_reason_to_stop_in_disorder() -> None:
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record(whole(A))
    store.before = failing("put")
    await recorder.stop()
    assert (await load(store)).runs[A].ended


# --- crashes at any point -------------------------------------------------------------------------------------

RUNS = [A, B, C, D, E]
EVENTS = [event for run in RUNS for event in [*whole(run), RunStopRequested(subject=run)]]
STEPS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6),
        st.just("write"),
        st.just("snapshot"),
        st.just("stop"),
    ),
    min_size=1,
    max_size=12,
)
Step = list[Event] | str


@dataclass
class Life:
    """A recorder, its store, and what was delivered to it."""

    store: MemoryStore
    recorder: Recorder

    async def take(self, step: Step) -> None:
        if isinstance(step, list):
            await self.recorder.record(step)
            return
        if not self.recorder._loaded:
            await self.recorder._load()
        if step == "write":
            await self.recorder._write_ended()
        elif step == "snapshot":
            await self.recorder._snapshot()
        elif step == "search":
            await self.recorder._search_blocks()
        else:
            await self.recorder.stop()
            self.recorder = Recorder(self.recorder.platform)


class Fuse:
    """Burns down with every write, and is a crash in the end, before or after what it interrupts has happened."""

    def __init__(self, length: int, *, after: bool) -> None:
        self.left = length
        self.is_after = after

    def before(self, what: str, _key: str) -> None:
        if not self.is_after:
            self._burn(what)

    def after(self, what: str, _key: str) -> None:
        if self.is_after:
            self._burn(what)

    def _burn(self, what: str) -> None:
        if what in ("put", "delete"):
            self.left -= 1
            if self.left < 0:
                raise Crash


async def live(steps: Sequence[Step], store: MemoryStore, platform: Platform) -> list[Step]:
    """Takes the steps until the crash; returns those that are left, the one it crashed in included."""
    life = Life(store, Recorder(platform))
    for position, step in enumerate(steps):
        try:
            await life.take(step)
        except Crash:
            return list(steps[position:])
    return []


def truth(steps: Sequence[Step]) -> dict[str, RunState]:
    states: dict[str, RunState] = {}
    for step in steps:
        for event in step if isinstance(step, list) else []:
            assert isinstance(event, Event)
            states[event.subject] = fold(states.get(event.subject), event)
    return states


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, lengths=st.lists(st.integers(0, 25), max_size=3), after=st.booleans(), again=st.integers(0, 2))
def test_no_crash_loses_or_doubles_anything(steps: list[Step], lengths: list[int], after: bool, again: int) -> None:
    # Given a history, and crashes somewhere in it, after each of which the last steps are delivered again
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "BLOCK", 2)
        patch.setattr(packs_module, "MOST_SMALL", 2)
        rows, states = asyncio.run(_play(steps, lengths, after, again, store))
    expected = truth(steps)
    whole_runs = {run for run, state in expected.items() if state.ended and state.work is not None}
    # Then every run that ended has one row, and stands where its events have brought it
    assert sorted(rows) == sorted(whole_runs)
    assert {run: state.stage for run, state in states.items()} == {run: state.stage for run, state in expected.items()}


async def _play(
    steps: list[Step], lengths: list[int], after: bool, again: int, store: MemoryStore
) -> tuple[list[str], dict[str, RunState]]:
    platform = memory_platform(store)
    left: list[Step] = steps
    for length in lengths:
        fuse = Fuse(length, after=after)
        store.before, store.after = fuse.before, fuse.after
        left = await live(left, store, platform)
        left = [*steps[max(0, len(steps) - len(left) - again) : len(steps) - len(left)], *left]
    store.before, store.after = MemoryStore().before, MemoryStore().after
    await live([*left, "write", "search", "snapshot"], store, platform)
    ledger = await load(store)
    rows = [*await RecordStore(store).load_rows(ledger.blocks), *ledger.rows]
    return [row.execution_id for row in rows], {**stored_runs(store), **ledger.runs}


class _Slow(MemoryStore):
    """Lets others have a turn in every operation."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.objects = store.objects

    async def put(self, *args: object, **more: object) -> object:  # type: ignore[override]  # passed on as it is
        await asyncio.sleep(0)
        return await super().put(*args, **more)  # type: ignore[arg-type]


async def _while_listing(store: MemoryStore, prefix: str, work: Callable[[], object]) -> None:
    """Has `work` done the next time somebody lists `prefix`."""
    done = False

    def interrupt(what: str, key: str) -> None:
        nonlocal done
        if what == "list" and key == prefix and not done:
            done = True
            _run_through(work())

    store.before = interrupt


def _run_through(work: object) -> None:
    """Runs a coroutine that never really waits to its end, from within another one."""
    assert asyncio.iscoroutine(work)
    with suppress(StopIteration):
        while True:
            work.send(None)


# --- rows of deleted records ------------------------------------------------------------------------------------

MANY = [run_id(number) for number in range(8)]
DELETIONS = st.lists(
    st.one_of(
        st.lists(st.sampled_from(MANY), min_size=1, max_size=4).map(lambda runs: [deletion_of(*runs)]),
        st.sampled_from(["write", "search", "snapshot", "stop"]),
    ),
    max_size=10,
)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "BLOCK", 3)


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "SETTLED_SECS", -1.0)


def deletion_of(*runs: str) -> RecordsDeleteRequested:
    return RecordsDeleteRequested(subject="request", runs=list(runs))


async def recorded(store: MemoryStore, *runs: str, **settings: Any) -> Recorder:
    """A recorder that has written these runs, in blocks."""
    recorder = Recorder(memory_platform(store, **settings))
    await recorder.record([event for run in runs for event in whole(run)])
    await recorder._write_ended()
    await recorder._snapshot()
    return recorder


async def rows_in(store: MemoryStore, ledger: Ledger) -> list[str]:
    rows = [*await RecordStore(store).load_rows(ledger.blocks), *ledger.rows]
    return sorted(row.execution_id for row in rows)


@pytest.mark.usefixtures("small_blocks", "no_delay")
async def test_deleted_records_leave_nothing_behind() -> None:
    # Given blocks of rows, some of whose runs are deleted
    store = MemoryStore()
    recorder = await recorded(store, *MANY)
    await recorder.record([deletion_of(MANY[0], MANY[7])])
    await recorder._write_ended()
    # When the blocks have been searched for them
    await recorder._search_blocks()
    await recorder._snapshot()
    await recorder._snapshot()
    # Then the others are all there, and nobody has to remember anything
    ledger = await load(store)
    assert await rows_in(store, ledger) == MANY[1:7]
    assert (ledger.deleted, ledger.to_delete, ledger.retired) == ({}, {}, {})
    assert [int(key.rpartition("/")[2]) for key in store.keys("rows/")] == ledger.blocks


@pytest.mark.usefixtures("small_blocks")
async def test_whoever_has_read_an_older_snapshot_still_finds_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a gateway that has just read a snapshot
    store = MemoryStore()
    recorder = await recorded(store, *MANY)
    before = await RecordStore(store).load_snapshot()
    assert before is not None
    # When the blocks that it names are dissolved before it reads them
    await recorder.record([deletion_of(MANY[0])])
    await recorder._write_ended()
    monkeypatch.setattr(recorder._ledger, "to_search_for", lambda: [MANY[0]])
    await recorder._search_blocks()
    await recorder._snapshot()
    # Then it finds them
    assert len(await RecordStore(store).load_rows(before.blocks)) == 6


@pytest.mark.usefixtures("small_blocks", "no_delay")
async def test_a_few_deleted_records_let_nobody_read_all_blocks() -> None:
    store = MemoryStore()
    recorder = await recorded(store, *[run_id(number) for number in range(40)])
    await recorder.record([deletion_of("r0")])
    await recorder._write_ended()
    store.before = failing("get", "rows/", AssertionError)
    await recorder._search_blocks()
    assert list(recorder._ledger.deleted) == ["r0"]


@pytest.mark.usefixtures("small_blocks", "no_delay")
async def test_blocks_that_have_expired_hold_no_deleted_record_for_ever() -> None:
    store = MemoryStore()
    recorder = await recorded(store, *MANY)
    await recorder.record([deletion_of(MANY[0])])
    await recorder._write_ended()
    for key in store.keys("rows/"):
        del store.objects[COLLECTION, key]
    await recorder._search_blocks()
    assert (recorder._ledger.blocks, recorder._ledger.deleted) == ([], {})


@pytest.mark.usefixtures("small_blocks", "no_delay")
async def test_rows_of_expired_runs_do_not_come_back_with_the_others_of_their_block() -> None:
    # Given a block whose runs have ended a while ago
    store = MemoryStore()
    await recorded(store, *MANY[:3])
    recorder = Recorder(memory_platform(store, execution_expire_days=1e-9))
    # When one of them is deleted
    await recorder.record([deletion_of(MANY[0])])
    await recorder._write_ended()
    await recorder._search_blocks()
    # Then no row is left, though the block has not expired yet
    assert (recorder._ledger.blocks, recorder._ledger.rows) == ([], [])


async def test_a_deletion_is_told_of_when_nothing_is_left_in_the_store() -> None:
    store, bus = MemoryStore(), NotingBus()
    recorder = Recorder(memory_platform(store, bus))
    await recorder.record(whole(A))
    await recorder._write_ended()
    await recorder.record([deletion_of(A)])
    left: list[str] = []
    bus.refuse = lambda _events: left.extend(stored_runs(store))
    await recorder._write_ended()
    assert ([event.runs for event in bus.published if isinstance(event, RecordsDeleted)], left) == ([[A]], [])


@settings(max_examples=100, deadline=None)
@given(steps=DELETIONS, lengths=st.lists(st.integers(0, 25), max_size=3), after=st.booleans(), again=st.integers(0, 2))
def test_no_crash_brings_a_deleted_record_back_or_loses_another(
    steps: list[Step], lengths: list[int], after: bool, again: int
) -> None:
    # Given rows in blocks, and deletions with crashes, after each of which the last steps are delivered again
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "BLOCK", 3)
        patch.setattr(packs_module, "MOST_SMALL", 2)
        patch.setattr(ledger_module, "SETTLED_SECS", -1.0)
        asyncio.run(recorded(store, *MANY))
        rows, _ = asyncio.run(_play(list(steps), lengths, after, again, store))
        ledger = asyncio.run(load(store))
    # Then all others are there, once
    told = [event for step in steps if isinstance(step, list) for event in step]
    gone = {run for event in told if isinstance(event, RecordsDeleteRequested) for run in event.runs}
    assert (sorted(rows), ledger.deleted) == ([run for run in MANY if run not in gone], {})
