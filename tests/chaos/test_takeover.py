"""Standbys on one bus: who takes over, with what knowledge, and that who was before decides nothing any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from messages.base import Event
from messages.gateways import GatewayFoundLoss
from messages.runs import (
    RunAssigned,
    RunCompleted,
    RunRequested,
    RunStopped,
    RunStopRequested,
)
from messages.scheduler import SchedulerAdmitted, SchedulerStarted
from services.recorder.service import Recorder
from services.scheduler import service as scheduler_module
from services.scheduler.service import Scheduler, SteppedDown
from shared.records.fold import RunState
from shared.records.ledger import Snapshot
from shared.records.store import RecordStore
from shared.service import Platform, Service
from tests.chaos.loops import Loops
from tests.contract.platform_support import Heard, open_platform
from tests.contract.worker_world import FakeProcess, WorkerWorld, make_world, until
from tests.named import A, B, run_named
from tests.unit.memory_platform import WORK
from voxloom.errors import BusUnavailable, NotFound
from voxloom.models import Status

S = TypeVar("S", bound=Service)


RUNNING, DEAF, WAITING, STOPPED, RUN, LOST, GOING_ON, X = map(
    run_named, ("running", "deaf", "waiting", "stopped", "run", "lost", "going on", "x")
)


class World:
    """A worker whose processes the test holds, and schedulers and recorders as the test starts them."""

    def __init__(self, platform: Platform, heard: Heard, workers: WorkerWorld) -> None:
        self.platform = platform
        self.heard = heard
        self.workers = workers
        self.services: list[Service] = []

    async def recorder(self) -> Recorder:
        return await self.start(Recorder(self.platform))

    async def scheduler(self) -> Scheduler:
        return await self.start(Scheduler(self.platform))

    async def active(self) -> Scheduler:
        """A scheduler that decides."""
        scheduler = await self.scheduler()
        await until(lambda: scheduler.dispatcher is not None, "an admission")
        return scheduler

    async def start(self, service: S) -> S:
        self.services.append(service)
        await service.start()
        return service

    async def submit(self, *runs: str) -> None:
        await self.platform.bus.publish(*[RunRequested(subject=run, work=WORK) for run in runs])

    async def running(self, run: str) -> FakeProcess:
        await self.submit(run)
        return await self.workers.process_of(run)

    async def ends(self, *runs: str) -> dict[str, RunCompleted | RunStopped]:
        await until(lambda: set(runs) <= set(self._ends()), f"the end of {runs}")
        return self._ends()

    def _ends(self) -> dict[str, RunCompleted | RunStopped]:
        return {one.subject: one for one in self.heard.events if isinstance(one, RunCompleted | RunStopped)}

    async def finish_all(self) -> None:
        """Every process completes as soon as it has something to do."""
        while True:
            self.workers.pool.end_all()
            await asyncio.sleep(0.002)

    async def record(self, run: str) -> RunState | None:
        """What a recorder that starts now would know of a run."""
        records = RecordStore(self.platform.store)
        stored = await records.load_run(run)
        return stored or (await records.load_ledger()).runs.get(run)

    async def statuses(self, *runs: str) -> set[Status]:
        states = [await self.record(run) for run in runs]
        return {state.status for state in states if state is not None}


@asynccontextmanager
async def world_at(folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[World]:
    facts = {"slots": 2, "grace": 0.2, "drain": 0.1, "heartbeat": 0.05, "lease": 0.5, "worker_id": "w", **settings}
    async with AsyncExitStack() as stack:
        platform, heard = await stack.enter_async_context(open_platform(folder, **facts))
        world = World(platform, heard, make_world(platform, heard, folder, patch))
        stack.push_async_callback(_stop_all, world)
        await world.start(world.workers.worker)
        yield world


async def _stop_all(world: World) -> None:
    for service in world.services:
        await service.stop()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with world_at(tmp_path, monkeypatch) as made:
        yield made


async def lose_channels(service: Service) -> None:
    """What a broker does to a consumer that it takes for dead: nothing is heard any more, and what was in hand goes to
    others. The service itself lives on and does not know."""
    for subscription in service._subscriptions:
        await subscription.close(drain=0.0)


async def test_a_standby_does_nothing_until_it_is_its_turn(world: World) -> None:
    await world.recorder()
    await world.active()
    standby = await world.scheduler()
    (await world.running(A)).end()
    await world.ends(A)
    assert standby.dispatcher is None
    assert len(world.heard.of(SchedulerStarted)) == 1


@pytest.mark.parametrize("how", ["stop", "lose"])
async def test_a_standby_takes_over_what_runs_what_waits_and_what_was_to_stop(world: World, how: str) -> None:
    # Given runs that run, one of which is to stop but is deaf, and runs that wait
    await world.recorder()
    first = await world.active()
    world.workers.pool.deaf = True
    running, deaf = await world.running(RUNNING), await world.running(DEAF)
    await world.submit(WAITING, STOPPED)
    await world.platform.bus.publish(RunStopRequested(subject=DEAF), RunStopRequested(subject=STOPPED))
    # When the active scheduler goes, in good order or not
    second = await world.scheduler()
    await (first.stop() if how == "stop" else lose_channels(first))
    await until(lambda: second.dispatcher is not None, "the second one in charge")
    running.end()
    (await world.workers.process_of(WAITING)).end()
    ends = await world.ends(RUNNING, DEAF, WAITING, STOPPED)
    # Then all come to their ends, each once, and nothing has run twice
    assert {run: (type(end), end.attempt) for run, end in ends.items()} == {
        RUNNING: (RunCompleted, 1),
        WAITING: (RunCompleted, 1),
        DEAF: (RunStopped, 1),
        STOPPED: (RunStopped, 0),
    }
    assert sorted(world.workers.began()) == [(DEAF, 1), (RUNNING, 1), (WAITING, 1)]
    assert deaf.killed


async def test_no_run_is_lost_while_schedulers_change_under_a_stream_of_requests(world: World, loops: Loops) -> None:
    await world.recorder()
    scheduler = await world.active()
    runs = [run_named(f"r{number}") for number in range(loops.runs)]
    finishing = asyncio.create_task(world.finish_all())
    # When one scheduler after another is cut off while requests come
    for number, run in enumerate(runs):
        await world.submit(run)
        if number % 15 == 7:
            following = await world.scheduler()
            await lose_channels(scheduler)
            scheduler = following
    await world.ends(*runs)
    finishing.cancel()
    # Then every run has run, once
    assert sorted(world.workers.began()) == sorted((run, 1) for run in runs)


async def test_an_old_scheduler_that_wakes_decides_nothing(world: World) -> None:
    # Given a scheduler that was cut off while a run was under way, and one that has taken its place
    await world.recorder()
    old = await world.active()
    process = await world.running(A)
    new = await world.scheduler()
    await lose_channels(old)
    await until(lambda: new.dispatcher is not None, "the new one in charge")
    # When the old one wakes, takes the worker for dead, and says what follows from that
    assert old.dispatcher is not None
    old._decisions.put(*old.dispatcher.judge(time.monotonic() + 3600.0))
    old._decisions.put(*old.dispatcher.plan(time.monotonic() + 3600.0))
    await old._decisions.say()
    assert {event.epoch for event in world.heard.events if hasattr(event, "epoch")} >= {1, 2}
    # Then neither worker nor record take note, and the run completes
    await world.submit(B)
    await world.workers.process_of(B)
    process.end()
    ends = await world.ends(A)
    assert (ends[A].attempt, ends[A].epoch, process.killed) == (1, 2, False)
    await until_async(lambda: _all(world, [A], Status.COMPLETED))


async def test_an_old_scheduler_that_hears_of_its_successor_steps_down_for_good(world: World) -> None:
    # Given a scheduler that has lost its queue, but still hears who is admitted
    await world.recorder()
    old = await world.active()
    queue = next(one for one in old._subscriptions if getattr(one, "queue", None) and one.queue.name == "scheduler")  # type: ignore[attr-defined]  # a consumer of a LocalBus
    await queue.close(drain=0.0)
    await world.active()
    await until(lambda: old.failed.done(), "the old one stepping down")
    assert isinstance(old.failed.exception(), SteppedDown)
    # When it is served once more all the same, then it does not ask to decide
    asked = len(world.heard.of(SchedulerStarted))
    with pytest.raises(SteppedDown):
        await old.handle([RunRequested(subject=X, work=WORK)])
    assert len(world.heard.of(SchedulerStarted)) == asked


async def test_a_scheduler_that_nobody_admits_any_more_stops_at_once(world: World) -> None:
    # Given one that is served and asks to be admitted, and no recorder
    scheduler = await world.scheduler()
    await world.submit(RUN)
    await until(lambda: any(isinstance(event, SchedulerStarted) for event in world.heard.events), "its question")
    # When it is told to stop, then it does not wait for an answer
    async with asyncio.timeout(30.0):
        await scheduler.stop()


def alarming(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR or line.exc_info]


async def test_a_scheduler_that_no_recorder_admits_says_so_without_a_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given schedulers that were started before any recorder
    monkeypatch.setattr(scheduler_module, "ADMISSION_SECS", 0.1)
    await world.scheduler()
    await until(lambda: "See whether a recorder runs" in caplog.text, "a word of it")
    # When one comes, then it works, and nothing was an error
    await world.recorder()
    monkeypatch.setattr(scheduler_module, "ADMISSION_SECS", 5.0)  # The question before may have been too early.
    (await world.running(A)).end()
    await world.ends(A)
    assert alarming(caplog) == []


async def test_an_admission_whose_snapshot_is_gone_already_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a snapshot that has been replaced by a newer one before the scheduler could read it
    load, missed = RecordStore.load_snapshot, list[str]()

    async def once_too_late(records: RecordStore, key: str | None = None) -> Snapshot | None:
        if key is not None and not missed:
            missed.append(key)
            raise NotFound("gone")
        return await load(records, key)

    monkeypatch.setattr(RecordStore, "load_snapshot", once_too_late)
    await world.recorder()
    # When it becomes active, then it is admitted with another one
    await world.active()
    assert len(missed) == 1
    assert [event.epoch for event in world.heard.of(SchedulerAdmitted)] == [1, 2]
    assert alarming(caplog) == []


async def test_an_admission_that_was_overtaken_while_its_snapshot_was_read_is_not_taken(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given another scheduler that is admitted while this one reads its snapshot
    load, overtaken = RecordStore.load_snapshot, list[str]()

    async def be_overtaken(records: RecordStore, key: str | None = None) -> Snapshot | None:
        snapshot = await load(records, key)
        if key is not None and not overtaken:
            overtaken.append(key)
            await world.platform.bus.publish(SchedulerStarted(subject="another", source="scheduler/another"))
            (scheduler,) = (one for one in world.services if isinstance(one, Scheduler))
            await until(lambda: scheduler._newest_epoch == 2, "the other's admission")
        return snapshot

    monkeypatch.setattr(RecordStore, "load_snapshot", be_overtaken)
    await world.recorder()
    # When it becomes active, then under an admission of its own that is newer
    scheduler = await world.active()
    assert (len(overtaken), scheduler.dispatcher and scheduler.dispatcher.epoch) == (1, 3)
    assert alarming(caplog) == []


@pytest.mark.parametrize("how", ["stop", "lose"])
async def test_a_second_recorder_goes_on_where_the_first_has_ended(world: World, loops: Loops, how: str) -> None:
    # Given a recorder and its standby under a stream of runs
    first = await world.recorder()
    second = await world.recorder()
    await world.active()
    finishing = asyncio.create_task(world.finish_all())
    runs = [run_named(f"r{number}") for number in range(loops.runs)]
    # When the first goes in the middle of it
    for number, run in enumerate(runs):
        await world.submit(run)
        if number == loops.runs // 2:
            leaving = asyncio.create_task(first.stop() if how == "stop" else lose_channels(first))
    await world.ends(*runs)
    await leaving
    finishing.cancel()
    # Then every record is there, and neither has failed
    await until_async(lambda: _all(world, runs, Status.COMPLETED))
    assert not second.failed.done()


async def test_recorder_and_scheduler_may_change_at_the_same_time(world: World) -> None:
    recorder, scheduler = await world.recorder(), await world.active()
    finishing = asyncio.create_task(world.finish_all())
    await world.submit(*[run_named(f"a{number}") for number in range(20)])
    await world.recorder()
    await world.scheduler()
    await asyncio.gather(lose_channels(recorder), lose_channels(scheduler))
    await world.submit(*[run_named(f"b{number}") for number in range(20)])
    runs = [run_named(f"{name}{number}") for name in "ab" for number in range(20)]
    await world.ends(*runs)
    finishing.cancel()
    await until_async(lambda: _all(world, runs, Status.COMPLETED))
    assert sorted(world.workers.began()) == sorted((run, 1) for run in runs)


async def test_a_worker_that_was_given_up_for_its_silence_comes_back(world: World) -> None:
    # Given a worker with a run, which the scheduler has not heard for longer than a lease
    await world.recorder()
    scheduler = await world.active()
    process = await world.running(A)
    worker = world.workers.worker
    former = worker.incarnation
    assert scheduler.dispatcher is not None
    scheduler._decisions.put(*scheduler.dispatcher.judge(time.monotonic() + 3600.0))
    await scheduler._decisions.say()
    # When it wakes and hears of it
    await until(lambda: worker.incarnation != former, "a new life")
    # Then its process is ended, and the new life does the run again
    again = await world.workers.process_of(A, attempt=2)
    again.end()
    ends = await world.ends(A)
    assert (process.killed, ends[A].attempt) == (True, 2)


async def test_an_assignment_that_could_not_be_said_is_not_held_against_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world_at(tmp_path, monkeypatch, claim_timeout=2.0, max_lost=1) as world:
        await world.recorder()
        await world.active()
        # Given a bus that takes no assignment for longer than a worker may take to claim it
        publish, full = world.platform.bus.publish, [True]

        async def refuse(*events: Event) -> None:
            if full and any(isinstance(event, RunAssigned) for event in events):
                raise BusUnavailable("full")
            await publish(*events)

        monkeypatch.setattr(world.platform.bus, "publish", refuse)
        await world.submit(A)
        await asyncio.sleep(2.5)
        # When it does again, then the run runs, at its first attempt
        full.clear()
        (await world.workers.process_of(A)).end()
        assert (await world.ends(A))[A].attempt == 1


async def _all(world: World, runs: list[str], status: Status) -> bool:
    return await world.statuses(*runs) == {status}


async def until_async(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(60.0):
        while not await check():
            await asyncio.sleep(0.05)


async def test_a_request_that_was_lost_on_its_way_is_found_in_the_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that goes on, and one whose request the recorder has heard and the scheduler has not
    await world.recorder()
    scheduler = await world.active()
    going_on = await world.running(GOING_ON)
    mind = scheduler.dispatcher
    assert mind is not None
    monkeypatch.setattr(mind, "on_requested", lambda _event, _now: [])
    await world.submit(LOST)
    await world.heard.first(RunRequested, subject=LOST)
    # When a gateway has found a loss
    await world.platform.bus.publish(GatewayFoundLoss(subject="g"))
    # Then the same scheduler begins anew, and both end, after one attempt each
    (await world.workers.process_of(LOST)).end()
    going_on.end()
    ends = await world.ends(LOST, GOING_ON)
    assert scheduler.dispatcher is not mind
    assert {end.attempt for end in ends.values()} == {1}
