"""The scheduler's mind in trouble: late and repeated events, workers that wake, buses that are full."""

from __future__ import annotations

from datetime import timedelta

import pytest

from messages.base import Event
from messages.runs import RunAssigned, RunFailed, RunStopRequested
from messages.workers import WorkerDraining, WorkerFenced, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.scheduler.dispatcher import MISSED_HEARTBEATS, SETTLED_SECS
from tests.unit.scheduler_story import Story, finished, heartbeat, kinds, lane, requested, started, worker_started
from voxloom.models import utc_now


def earlier(event: WorkerStarted, seconds: float = 60.0) -> WorkerStarted:
    return event.model_copy(update={"time": event.time - timedelta(seconds=seconds)})


def fences(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.subject, event.reason) for event in events if isinstance(event, WorkerFenced)]


def test_a_worker_that_was_said_to_start_long_ago_gets_nothing_until_it_is_heard() -> None:
    # Given a scheduler that finds in its queue the start of a worker from before its own time
    story = Story(began=utc_now())
    story.hear(requested("a"))
    # When it hears of it, then it does not trust it with a run; a heartbeat is a sign of life
    assert story.hear(earlier(worker_started("i1"))) == []
    assert kinds(story.hear(heartbeat("i1"))) == [("assigned", "a")]


def test_a_late_start_of_an_earlier_life_does_not_end_the_present_one() -> None:
    # Given a worker whose heartbeats arrive before what waits in the queue
    story = Story(began=utc_now())
    story.hear(heartbeat("i2"))
    story.hear(requested("a"))
    # When the start of its earlier life comes out of the queue
    decisions = story.hear(earlier(worker_started("i1")))
    # Then the present life keeps its run, and serves on
    assert decisions == []
    assert kinds(story.hear(finished("a", "completed", incarnation="i2"), requested("b"))) == [
        ("completed", "a"),
        ("assigned", "b"),
    ]


def test_a_second_worker_of_the_same_name_ends_the_first_and_tells_it_why() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"))
    story.hear(heartbeat("i1"))
    assert fences(story.hear(worker_started("i2", "w1"))) == [("i1", "replaced")]


def test_a_silent_worker_is_told_that_it_is_fenced() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started("i1"))
    assert fences(story.wait(3.0)) == [("i1", "silent")]


def test_a_fenced_worker_that_speaks_again_is_told_again_but_not_with_every_heartbeat() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started("i1"))
    story.wait(3.0)
    told: list[Event] = []
    for _ in range(6):
        story.now += 1.0
        told += story.hear(heartbeat("i1"))
    assert fences(told) == [("i1", "silent"), ("i1", "silent")]


def test_a_fenced_worker_gets_no_runs() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started("i1"))
    story.wait(3.0)
    story.hear(heartbeat("i1"), worker_started("i1"))
    assert story.hear(requested("a")) == []


def test_a_worker_that_has_stopped_is_told_nothing_when_its_last_heartbeat_comes_late() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started("i1"), WorkerStopped(subject="i1", worker_id="w1"))
    story.now += 3.0
    assert story.hear(heartbeat("i1")) == []


def test_a_worker_that_this_scheduler_only_knows_to_have_stopped_gets_nothing() -> None:
    story = Story()
    story.hear(WorkerStopped(subject="i1", worker_id="w1"))
    story.hear(requested("a"))
    assert story.hear(heartbeat("i1")) == []


def test_a_worker_whose_heartbeat_says_that_it_drains_gets_nothing_new() -> None:
    # Given a worker with room, whose word that it drains is still on its way
    story = Story()
    story.hear(worker_started("i1"), heartbeat("i1"))
    story.hear(WorkerHeartbeat(subject="i1", worker_id="w1", lanes=[lane()], holding=[], draining=True))
    # When a run comes, then it waits for another
    assert story.hear(requested("a")) == []


def test_a_drained_worker_is_not_offered_again_by_the_release_of_its_runs() -> None:
    story = Story()
    story.hear(worker_started("i1"), requested("a"))
    story.hear(WorkerDraining(subject="i1", worker_id="w1"))
    assert kinds(story.hear(finished("a", "released"))) == [("requeued", "a")]


def test_a_report_that_is_still_to_be_heard_is_no_lost_run() -> None:
    # Given a run that its worker has finished, whose report waits behind many events
    story = Story()
    story.hear(worker_started(), requested("a"))
    story.hear(heartbeat("i1", ("a", 1)))
    story.mind.caught_up = False
    # When heartbeats do not list it any more
    decisions = [event for _ in range(2 * MISSED_HEARTBEATS) for event in story.hear(heartbeat("i1"))]
    # Then it is waited for
    assert decisions == []
    assert kinds(story.hear(finished("a", "completed"))) == [("completed", "a")]


def test_while_the_bus_takes_nothing_no_assignment_goes_unclaimed() -> None:
    # Given an assignment that could not be said for longer than a worker may take to claim it
    story = Story(claim_timeout=10, lease=2.5)
    story.hear(worker_started(), requested("a"))
    for _ in range(30):
        story.now += 1.0
        story.hear(heartbeat("i1"))
        story.mind.grant_full_terms(story.now)
    # When it can be said again, then the worker has its full time from now on
    assert story.wait(0.0) == []


def test_a_run_for_which_nobody_is_there_waits_its_own_time() -> None:
    # Given a run that has waited almost long enough for a device that nobody has
    story = Story(no_device_timeout=60, lease=1e9)
    story.hear(worker_started(), requested("a", devices=("gpu",)))
    story.wait(0)
    story.wait(59)
    # When another one joins it
    story.hear(requested("b", devices=("gpu",)))
    # Then the first fails alone, and the second when its time has come
    assert kinds(story.wait(2)) == [("failed", "a")]
    assert kinds(story.wait(57)) == []
    assert kinds(story.wait(2)) == [("failed", "b")]


def test_the_wait_for_a_device_begins_anew_when_the_line_has_been_empty() -> None:
    story = Story(no_device_timeout=60, lease=1e9)
    story.hear(worker_started("i1", "w1", lane(1), lane(1, "gpu")))
    story.hear(requested("a", devices=("gpu",)))
    story.hear(finished("a", "completed", run_seconds=9), WorkerStopped(subject="i1", worker_id="w1"))
    story.hear(requested("b", devices=("gpu",)))
    story.wait(1)
    # Given somebody who comes, serves the line and goes again
    story.hear(worker_started("i2", "w2", lane(1, "gpu")))
    story.hear(finished("b", "completed", incarnation="i2"), WorkerStopped(subject="i2", worker_id="w2"))
    story.wait(50)
    story.hear(requested("c", devices=("gpu",)))
    story.wait(1)
    # Then the next run has its full time
    assert story.wait(55) == []


def test_stopped_runs_leave_nothing_behind_that_fails_others() -> None:
    story = Story(no_device_timeout=60, lease=1e9)
    story.hear(requested("a", devices=("gpu",)), RunStopRequested(subject="a"))
    story.wait(30)
    story.hear(requested("b", devices=("gpu",)))
    assert kinds(story.wait(31)) == []


@pytest.mark.parametrize("end", ["completed", "failed", "stopped", "released"])
def test_a_stop_that_meets_the_end_of_its_run_settles_it_once(end: str) -> None:
    # Given a run whose report and stop cross each other
    story = Story()
    story.hear(worker_started(), requested("a"))
    story.hear(RunStopRequested(subject="a"), finished("a", end), RunStopRequested(subject="a"))
    # When the report is repeated, too, and the worker goes
    story.hear(finished("a", end), WorkerStopped(subject="i1", worker_id="w1"))
    # Then there is one end, and no further attempt
    ends = [event for event in story.said if event.verb in ("completed", "failed", "stopped")]
    assert [event.verb for event in ends] == ["completed" if end == "completed" else "stopped"]
    assert len([event for event in story.said if isinstance(event, RunAssigned)]) == 1


@pytest.mark.parametrize("loss", ["replaced", "silent", "unclaimed", "stopped", "unlisted"])
def test_a_stop_of_a_run_whose_worker_goes_in_any_way_holds(loss: str) -> None:
    story = Story(lease=2.5, claim_timeout=2.0)
    story.hear(worker_started(), requested("a"))
    story.hear(RunStopRequested(subject="a"))
    if loss == "replaced":
        story.hear(worker_started("i2", "w1"))
    elif loss == "silent":
        story.wait(3.0)
    elif loss == "unclaimed":
        story.now = 2.1
        story.hear(heartbeat("i1"))
        story.wait(0.0)
    elif loss == "stopped":
        story.hear(WorkerStopped(subject="i1", worker_id="w1"))
    else:
        story.hear(heartbeat("i1", ("a", 1)), *[heartbeat("i1")] * MISSED_HEARTBEATS)
    assert [kind for kind in kinds(story.said) if kind[0] in ("requeued", "stopped")] == [("stopped", "a")]


def test_every_loss_counts_once_however_many_signs_of_it_there_are() -> None:
    # Given a worker that is replaced, and whose silence and last words come to notice as well
    story = Story(max_lost=3, lease=2.5)
    story.hear(worker_started("i1", "w1"), requested("a"), heartbeat("i1", ("a", 1)))
    story.hear(started("a"))
    story.hear(worker_started("i2", "w1"))
    story.hear(*[heartbeat("i1")] * 10, finished("a", "failed", incarnation="i1"))
    story.hear(WorkerStopped(subject="i1", worker_id="w1"))
    assert story.mind.state.jobs["a"].lost == 1


def test_what_has_ended_is_forgotten_in_the_end() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started(), requested("a"))
    story.hear(finished("a", "completed"))
    story.wait(SETTLED_SECS + 10)
    story.wait(SETTLED_SECS + 10)
    assert (story.mind.state.settled, story.mind.state.gone) == ({}, {})


def test_a_run_that_brings_its_workers_down_is_given_up_with_a_reason() -> None:
    story = Story(max_lost=2, lease=2.5)
    story.hear(requested("a"))
    for number in range(2):
        story.hear(worker_started(f"i{number}", f"w{number}"))
        story.hear(started("a", number + 1, f"i{number}"))
        story.wait(3.0)
    assert [type(event) for event in story.said if event.verb == "failed"] == [RunFailed]
