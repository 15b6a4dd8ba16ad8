"""A worker's side of the protocol: what it does with what the scheduler says, and says itself."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from messages.base import Event
from messages.runs import RunAssignedV1, RunFinished, RunStarted, RunStopPassed
from messages.scheduler import SchedulerAdmitted
from messages.workers import WorkerDraining, WorkerFenced, WorkerStarted, WorkerStopped
from services.worker import devices, service, start
from services.worker.service import Replaced
from tests.contract.platform_support import open_platform
from tests.contract.worker_world import FakeProcess, WorkerWorld, make_world, until, worker_world
from tests.named import A, B, C, run_named
from tests.unit.memory_platform import WORK
from voxloom.errors import Unavailable
from voxloom.models import utc_now
from voxloom.runner import frames

RUN = run_named("run")


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerWorld]:
    async with worker_world(tmp_path, monkeypatch) as made:
        yield made


async def test_an_assigned_run_is_begun_and_reported(world: WorkerWorld) -> None:
    process = await world.begin(A)
    process.end("completed", outputs=["file"])
    report = await world.report(A)
    assert (report.outcome, report.result.outputs, world.began()) == ("completed", ["file"], [(A, 1)])


async def test_an_assignment_of_an_earlier_scheduler_is_understood(world: WorkerWorld) -> None:
    facts: dict[str, Any] = {
        "epoch": 1,
        "worker_id": "w",
        "incarnation": world.worker.incarnation,
        "device_class": "cpu",
    }
    await world.say(RunAssignedV1(subject=A, attempt=1, work=WORK, **facts))
    (await world.process_of(A)).end()
    assert (await world.report(A)).outcome == "completed"


async def test_a_run_that_is_soon_over_says_in_its_report_when_it_began(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that nobody has heard yet that it has begun
    monkeypatch.setattr(start, "SOON_SECS", 60.0)
    before = utc_now()
    (await world.begin(A)).end()

    report = await world.report(A)

    assert report.result.began is not None
    assert (before <= report.result.began <= report.time, world.heard.of(RunStarted)) == (True, [])


async def test_a_longer_run_says_that_it_has_begun(world: WorkerWorld) -> None:
    process = await world.begin(A)
    await world.heard.first(RunStarted, subject=A)
    process.end()

    assert (await world.report(A)).result.began is None


async def test_a_run_is_listed_from_its_claim_until_it_is_settled(world: WorkerWorld) -> None:
    process = await world.begin(A)
    assert await world.held() == [(A, 1)]
    process.end()
    await world.report(A)
    assert await world.held() == [(A, 1)]
    await world.settle(A)
    await until(lambda: not world.beats[-1].holding, "an empty hand")


async def test_the_same_assignment_is_done_once(world: WorkerWorld) -> None:
    await world.assign(A)
    process = await world.begin(A)
    process.end()
    await world.report(A)
    await world.assign(A)
    (await world.begin(B)).end()
    await world.report(B)
    assert world.began() == [(A, 1), (B, 1)]


async def test_an_assignment_that_comes_again_after_its_settlement_starts_nothing(world: WorkerWorld) -> None:
    # Given a run that was done and settled
    (await world.begin(A)).end()
    await world.report(A)
    await world.settle(A)
    # When the broker delivers the assignment once more
    await world.assign(A)
    # Then the author's code does not run a second time
    (await world.begin(B)).end()
    await world.report(B)
    assert world.began() == [(A, 1), (B, 1)]


async def test_a_scheduler_that_was_replaced_is_not_obeyed(world: WorkerWorld) -> None:
    # Given a run under way, and a new scheduler that has said nothing yet but was admitted
    process = await world.begin(A)
    await world.say(SchedulerAdmitted(subject="term", epoch=2, snapshot_key="k"))
    # When the old one, which was only asleep, takes the run away, stops it and gives out another
    await world.requeue(A, epoch=1)
    await world.pass_stop(A, epoch=1)
    await world.assign(B, epoch=1)
    # Then the run goes on to its end
    await world.assign(C, epoch=2)
    process.end()
    await world.report(A)
    await world.process_of(C)
    assert (process.killed, process.asked, world.began()) == (False, False, [(A, 1), (C, 1)])


async def test_a_stop_is_passed_on_to_the_process(world: WorkerWorld) -> None:
    process = await world.begin(A)
    await world.pass_stop(A)
    assert (await world.report(A)).outcome == "stopped"
    assert (process.asked, process.killed) == (True, False)


async def test_a_process_that_does_not_listen_is_killed_after_the_grace_period(world: WorkerWorld) -> None:
    world.pool.deaf = True
    process = await world.begin(A)
    begun = time.monotonic()
    await world.pass_stop(A)
    assert (await world.report(A)).outcome == "stopped"
    assert process.killed
    assert time.monotonic() - begun >= world.worker.settings.grace


async def test_a_stop_ahead_of_its_assignment_is_remembered(world: WorkerWorld) -> None:
    await world.pass_stop(A)
    await world.assign(A)
    assert (await world.report(A)).outcome == "stopped"
    assert world.began() == []


async def test_a_stop_of_a_run_that_waits_for_a_slot_takes_effect_at_once(world: WorkerWorld) -> None:
    await world.begin(A)
    await world.assign(B)
    await world.pass_stop(B)
    assert (await world.report(B)).outcome == "stopped"
    assert world.began() == [(A, 1)]


async def test_a_stop_does_not_wait_for_a_process_to_start(world: WorkerWorld) -> None:
    # Given a run for which no process is ready
    world.pool.gate.clear()
    await world.assign(A)
    await until(lambda: world.beats and world.beats[-1].holding)
    # When it is stopped, then that is its end, though there never was a process
    await world.pass_stop(A)
    assert (await world.report(A)).outcome == "stopped"
    assert world.pool.made == []


async def test_a_stop_of_another_project_is_not_ours(world: WorkerWorld) -> None:
    # Given a run under way
    process = await world.begin(A)
    # When somebody wants it stopped whose it is not, and the worker has heard that
    facts = {"attempt": 1, "epoch": 1, "incarnation": world.worker.incarnation}
    await world.say(RunStopPassed(subject=A, project="other", **facts))
    await world.assign(B)
    await until(lambda: len(world.beats[-1].holding) == 2, "what came after it")
    # Then it goes on
    assert not process.asked
    process.end()
    assert (await world.report(A)).outcome == "completed"


async def test_a_stop_of_another_attempt_is_not_ours(world: WorkerWorld) -> None:
    process = await world.begin(A, attempt=2)
    await world.pass_stop(A, attempt=1)
    process.end()
    await world.report(A, attempt=2)
    assert not process.asked


async def test_an_attempt_that_was_taken_away_is_killed_and_says_nothing(world: WorkerWorld) -> None:
    process = await world.begin(A)
    await world.requeue(A)
    await until(lambda: process.killed)
    (await world.begin(B)).end()
    await world.report(B)
    assert [event.subject for event in world.heard.of(RunFinished)] == [B]


async def test_a_run_that_was_taken_away_and_comes_back_runs_as_the_new_attempt(world: WorkerWorld) -> None:
    # Given a run that was fenced while it ran
    first = await world.begin(A)
    await world.requeue(A)
    # When it is assigned to the same worker again
    second = await world.begin(A, attempt=2)
    # Then the first attempt is dead, and the second one is what is reported
    second.end("completed", outputs=["second"])
    report = await world.report(A, attempt=2)
    assert (first.killed, report.result.outputs) == (True, ["second"])
    assert [event.attempt for event in world.heard.of(RunFinished)] == [2]


async def test_a_later_attempt_ends_an_earlier_one_that_nobody_took_away(world: WorkerWorld) -> None:
    first = await world.begin(A)
    await world.assign(A, attempt=2)
    await world.process_of(A, attempt=2)
    assert first.killed


async def test_a_slot_is_free_again_after_a_run_was_taken_away(world: WorkerWorld) -> None:
    for number in range(5):
        await world.begin(run_named(f"r{number}"))
        await world.requeue(run_named(f"r{number}"))
    await world.begin(run_named("last"))
    assert world.pool.busy == 1


async def test_a_process_that_cannot_be_started_is_how_a_run_fails(world: WorkerWorld) -> None:
    world.pool.error = Unavailable("no process today")
    await world.assign(A)
    report = await world.report(A)
    assert report.result.error is not None
    assert (report.outcome, report.result.error.code) == ("failed", "unavailable")


async def test_a_fault_of_the_worker_ends_the_run_and_not_the_worker(world: WorkerWorld) -> None:
    world.pool.error = KeyError("a bug")
    await world.assign(A)
    assert (await world.report(A)).outcome == "failed"
    world.pool.error = None
    await world.begin(B)


async def test_outputs_that_are_no_files_of_the_run_stay_as_text(world: WorkerWorld) -> None:
    process = await world.begin(RUN)
    process.end(outputs=["../../x", "a text"])
    finished = await world.report(RUN)
    assert (finished.outcome, finished.result.outputs) == ("completed", ["../../x", "a text"])


async def test_too_many_outputs_that_are_no_files_of_the_run_are_how_it_fails(world: WorkerWorld) -> None:
    process = await world.begin(RUN)
    process.end(outputs=["x"] * 100_000)
    finished = await world.report(RUN)
    assert (finished.outcome, finished.result.outputs) == ("failed", [])
    assert finished.result.error is not None
    assert finished.result.error.code == "invalid_outputs"
    assert "more than 1000 texts" in finished.result.log


async def test_a_later_attempt_begins_when_it_is_known_to_have_begun(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bus that tells when it has kept the start of a run
    happened: list[str] = []
    publish, run = type(world.worker.bus).publish, FakeProcess.run

    async def noting_publish(self: Any, *events: Event) -> None:
        await publish(self, *events)
        happened.extend("known" for event in events if isinstance(event, RunStarted))

    async def noting_run(self: FakeProcess, frame: frames.Run, link: object) -> frames.Ended:
        happened.append("begun")
        return await run(self, frame, link)

    monkeypatch.setattr(type(world.worker.bus), "publish", noting_publish)
    monkeypatch.setattr(FakeProcess, "run", noting_run)
    # When a second attempt is made, then its code begins after that
    await world.begin(RUN, attempt=2)
    assert happened == ["known", "begun"]


async def test_a_run_that_takes_too_long_is_stopped_and_has_failed_and_its_slot_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_world(tmp_path, monkeypatch, max_wall_time=0.05) as world:
        process = await world.begin(RUN)
        finished = await world.report(RUN)
        assert (process.asked, finished.outcome) == (True, "failed")
        assert finished.result.error is not None
        assert (finished.result.error.code, finished.result.error.type) == ("limit_exceeded", "LimitExceeded")
        assert "wall_time allows (0.05 s)" in finished.result.log
        await world.begin(run_named("next"))


async def test_a_run_that_takes_longer_than_its_project_may_says_so_and_each_attempt_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = WORK.model_copy(update={"wall_time": 0.05, "project_wall_time": 0.05})
    monkeypatch.setattr("tests.contract.worker_world.WORK", limited)
    async with worker_world(tmp_path, monkeypatch, max_wall_time=60) as world:
        for attempt in (1, 2):
            process = await world.begin(RUN, attempt)
            finished = await world.report(RUN, attempt)
            assert (process.asked, finished.outcome) == (True, "failed")
            assert finished.result.error is not None
            assert (finished.result.error.code, "(0.05 s)" in finished.result.error.message) == ("wall_time", True)


async def test_a_run_that_takes_too_long_and_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_world(tmp_path, monkeypatch, max_wall_time=0.05) as world:
        world.pool.deaf = True
        process = await world.begin(RUN)
        finished = await world.report(RUN)
        assert process.killed
        assert (finished.outcome, finished.result.error and finished.result.error.code) == ("failed", "limit_exceeded")


async def test_a_worker_whose_disk_is_full_offers_nothing_until_there_is_room(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [True]
    monkeypatch.setattr(type(world.worker.room), "short", property(lambda _: short[0]))
    await until(lambda: world.beats and [lane.slots for lane in world.beats[-1].lanes] == [0], "no slot")
    short[0] = False
    await until(lambda: [lane.slots for lane in world.beats[-1].lanes] == [1], "the slot")


async def test_a_full_disk_is_how_a_run_fails_before_its_code_begins(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.pool.error = OSError(errno.ENOSPC, "No space left on device")
    await world.assign(RUN)
    error = (await world.report(RUN)).result.error
    assert error is not None
    assert (error.code, error.retryable) == ("storage_full", True)


async def test_a_device_that_is_not_there_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with worker_world(tmp_path, monkeypatch) as world:
        world.worker._lanes.clear()
        await world.assign(A)
        report = await world.report(A)
    assert report.result.error is not None
    assert report.result.error.code == "no_device"


# --- cards --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def carded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerWorld]:
    """A worker with two cards."""
    found = {"cuda": ["A100", "A100"]}
    monkeypatch.setattr(devices, "PROBES", [devices.probe_cpu, lambda settings: devices.offers_of(found, settings, {})])
    async with worker_world(tmp_path, monkeypatch) as world:
        yield world


async def test_each_run_has_a_card_of_its_own_and_sees_no_other(carded: WorkerWorld) -> None:
    for run in (A, B, C):
        await carded.assign(run, device_class="gpu")
    frames = [(await carded.process_of(run)).frame for run in (A, B)]
    assert {(one.device, one.visible_cards) for one in frames if one} == {("cuda", "0"), ("cuda", "1")}
    assert sorted(carded.began()) == [(A, 1), (B, 1)]


async def test_a_run_on_the_processor_sees_no_card(carded: WorkerWorld) -> None:
    frame = (await carded.begin(A)).frame
    assert frame is not None
    assert (frame.device, frame.visible_cards) == ("cpu", "")


async def test_a_card_on_which_all_is_loaded_is_taken_first(carded: WorkerWorld) -> None:
    carded.pool.warm = {"cuda:1"}
    await carded.assign(A, device_class="gpu")
    await carded.process_of(A)
    assert [key.device for key in carded.pool.keys] == ["cuda:1"]


async def test_a_card_that_is_free_again_serves_the_next(carded: WorkerWorld) -> None:
    for run in (A, B):  # one after the other: who of two comes first is not said
        await carded.assign(run, device_class="gpu")
        await carded.process_of(run)
    await carded.assign(C, device_class="gpu")
    (await carded.process_of(A)).end()
    assert (await carded.process_of(C)).frame is not None
    assert [key.device for key in carded.pool.keys] == ["cuda:0", "cuda:1", "cuda:0"]


async def test_it_is_told_which_card_it_was(carded: WorkerWorld) -> None:
    await carded.assign(A, device_class="gpu")
    process = await carded.process_of(A)
    started = await carded.heard.first(RunStarted, subject=A)
    process.end()
    result = (await carded.report(A)).result
    assert (result.device, result.card, started.card) == ("cuda", "cuda:0", "cuda:0")


# --- fenced -------------------------------------------------------------------------------------------------------


async def fence(world: WorkerWorld, reason: str) -> str:
    """Tells the worker that its incarnation is over; which one that was."""
    former = world.worker.incarnation
    facts = {"subject": former, "epoch": 1, "worker_id": "w", "reason": reason}
    await world.say(WorkerFenced.model_validate(facts))
    return former


async def test_a_worker_that_was_fenced_for_its_silence_begins_anew(world: WorkerWorld) -> None:
    # Given a worker with a run under way and one reported
    (await world.begin(A)).end()
    await world.report(A)
    process = await world.begin(B)
    # When it hears that it was given up
    former = await fence(world, "silent")
    # Then it kills what it had and comes back with empty hands, under another incarnation
    await until(lambda: world.worker.incarnation != former)
    assert process.killed
    assert await world.held() == []
    await until(lambda: world.heard.of(WorkerStarted)[-1].subject == world.worker.incarnation)


async def test_a_worker_that_has_begun_anew_serves_on(world: WorkerWorld) -> None:
    former = await fence(world, "silent")
    await until(lambda: world.worker.incarnation != former)
    (await world.begin(A)).end()
    assert (await world.report(A)).incarnation == world.worker.incarnation
    assert world.worker.ready


async def test_a_fence_that_is_said_again_makes_one_new_life(world: WorkerWorld) -> None:
    former = world.worker.incarnation
    facts = {"subject": former, "epoch": 1, "worker_id": "w", "reason": "silent"}
    await world.say(*[WorkerFenced.model_validate(facts)] * 3)
    await until(lambda: world.worker.incarnation != former)
    await world.begin(A)
    assert len(world.heard.of(WorkerStarted)) == 2


async def test_the_queue_of_a_former_life_is_removed(world: WorkerWorld) -> None:
    former = await fence(world, "silent")
    await until(lambda: world.worker.incarnation != former)
    bus = world.worker.bus
    await until(lambda: former not in bus_queues(world))
    assert f"worker.{world.worker.incarnation}" in [queue.name for queue in await bus.stats()]


def bus_queues(world: WorkerWorld) -> str:
    return " ".join(queue.name for queue in world.worker.bus._engine.queues)  # type: ignore[attr-defined]  # a LocalBus


async def test_a_worker_whose_name_another_has_taken_gives_up_with_the_reason(world: WorkerWorld) -> None:
    process = await world.begin(A)
    await fence(world, "replaced")
    await until(lambda: world.worker.failed.done() and process.killed)
    assert isinstance(world.worker.failed.exception(), Replaced)


# --- the end ------------------------------------------------------------------------------------------------------


async def test_draining_gives_back_what_waits_and_lets_the_rest_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_world(tmp_path, monkeypatch, drain=5.0) as world:
        process = await world.begin(A)
        await world.assign(B)
        await until(lambda: world.beats and len(world.beats[-1].holding) == 2)
        stopping = stop_soon(world)
        assert (await world.report(B)).outcome == "released"
        await world.assign(C)
        assert (await world.report(C)).outcome == "released"
        process.end()
        assert (await world.report(A)).outcome == "completed"
        for run in (A, B, C):
            await world.settle(run)
        await stopping
    assert [type(event) for event in world.heard.events if event.entity == "worker"] == [
        WorkerStarted,
        WorkerDraining,
        WorkerStopped,
    ]


async def test_what_waits_long_for_a_slot_is_given_back(world: WorkerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that was assigned ahead of a slot
    monkeypatch.setattr(service, "AHEAD_SECS", 0.3)
    process = await world.begin(A)
    await world.assign(B)
    # When the one before it lasts, then it is given back, and the other goes on
    assert (await world.report(B)).outcome == "released"
    assert await world.held() == [(A, 1), (B, 1)]  # until the scheduler has settled it
    process.end()
    assert (await world.report(A)).outcome == "completed"
    assert world.began() == [(A, 1)]


async def test_what_takes_longer_than_the_drain_is_given_back(world: WorkerWorld) -> None:
    process = await world.begin(A)
    stopping = stop_soon(world)
    assert (await world.report(A)).outcome == "released"
    await world.settle(A)
    await stopping
    assert process.killed


async def test_a_second_signal_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with worker_world(tmp_path, monkeypatch, drain=60.0) as world:
        await world.begin(A)
        stopping = stop_soon(world)
        world.worker.hurry()
        assert (await world.report(A)).outcome == "released"
        await world.settle(A)
        await stopping


async def test_a_stop_during_the_drain_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with worker_world(tmp_path, monkeypatch, drain=60.0) as world:
        await world.begin(A)
        stopping = stop_soon(world)
        await world.pass_stop(A)
        assert (await world.report(A)).outcome == "stopped"
        await world.settle(A)
        await stopping


async def test_a_worker_that_could_not_start_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SETTLE_SECS", 600.0)
    async with open_platform(tmp_path, drain=600.0) as (platform, heard):
        world = make_world(platform, heard, tmp_path, monkeypatch)
        await asyncio.wait_for(world.worker.stop(), 60.0)


async def test_nothing_is_heard_of_a_worker_after_its_goodbye(world: WorkerWorld) -> None:
    await world.begin(A)
    stopping = stop_soon(world)
    await world.report(A)
    await world.settle(A)
    await stopping
    said = [event for event in world.heard.events if isinstance(event, RunStarted | RunFinished | WorkerStopped)]
    assert isinstance(said[-1], WorkerStopped)


def stop_soon(world: WorkerWorld) -> asyncio.Task[None]:
    return asyncio.create_task(world.worker.stop())
