"""The scheduler's mind, as tables and short stories: events and time in, decisions out."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from messages.base import Event
from messages.runs import (
    Result,
    RunAssigned,
    RunCompleted,
    RunFailed,
    RunRequeued,
    RunStarted,
    RunStopPassed,
    RunStopped,
    RunStopRequested,
)
from messages.workers import WorkerDraining, WorkerStopped
from services.scheduler.dispatcher import Dispatcher
from services.scheduler.policy import after_loss, after_report
from services.scheduler.state import Job, runs_ahead
from shared.records.ledger import Ledger, review
from shared.settings import Settings
from tests.unit.scheduler_story import Story, finished, heartbeat, kinds, lane, requested, started, work, worker_started


def test_a_run_goes_to_a_worker_with_room() -> None:
    # Given a worker
    story = Story()
    story.hear(worker_started())
    # When a run is requested, then it is assigned, as attempt 1
    (decision,) = story.hear(requested("a"))
    assert isinstance(decision, RunAssigned)
    assert (decision.incarnation, decision.attempt, decision.epoch) == ("i1", 1, 1)


def test_a_run_waits_for_a_worker_and_goes_to_the_first_that_comes() -> None:
    story = Story()
    assert story.hear(requested("a")) == []
    assert kinds(story.hear(worker_started())) == [("assigned", "a")]


def test_a_run_goes_where_its_session_is_while_there_is_room() -> None:
    # Given a session on a small worker, and a large one beside it
    story = Story()
    story.hear(worker_started("small", "w1", lane(2)))
    story.hear(requested("a", session="s"))
    story.hear(worker_started("large", "w2", lane(9)))
    # When more runs of that session come than the small one has room for, then those for which it has go there
    decisions = story.hear(*(requested(f"b{number}", session="s") for number in range(4)))
    went = [one.incarnation for one in decisions if isinstance(one, RunAssigned)]
    assert went == ["small", "large", "large", "large"]


def test_a_session_whose_worker_is_gone_is_anywhere() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"))
    story.hear(requested("a", session="s"))
    story.hear(finished("a", "completed", run_seconds=9))
    story.hear(WorkerStopped(subject="i1", worker_id="w1"), worker_started("i2", "w2"))
    assert kinds(story.hear(requested("b", session="s"))) == [("assigned", "b")]


def test_other_sessions_go_to_the_freest() -> None:
    story = Story()
    story.hear(worker_started("small", "w1", lane(2)))
    story.hear(requested("a", session="s"))
    story.hear(worker_started("large", "w2", lane(9)))
    (decision,) = story.hear(requested("b", session="t"))
    assert isinstance(decision, RunAssigned)
    assert decision.incarnation == "large"


def test_a_full_worker_gets_nothing_more_until_it_reports() -> None:
    story = Story()
    story.hear(worker_started())
    assert kinds(story.hear(requested("a"), requested("b"))) == [("assigned", "a")]
    assert kinds(story.hear(finished("a", "completed", run_seconds=9))) == [("completed", "a"), ("assigned", "b")]


def test_quick_runs_are_given_one_ahead_per_slot() -> None:
    # Given a worker whose runs were short
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    story.hear(finished("a", "completed", run_seconds=0.001))
    # When several wait, then it gets two: one to run, one ahead
    assert len(story.hear(requested("b"), requested("c"), requested("d"))) == 2


def test_a_free_slot_comes_before_a_place_ahead() -> None:
    # Given a worker that gets runs ahead, since its runs were short, and one of which nothing is known yet
    story = Story()
    story.hear(worker_started("quick", "w1", lane(2)))
    story.hear(requested("a"))
    story.hear(finished("a", "completed", incarnation="quick", run_seconds=0.001))
    story.hear(worker_started("new", "w2", lane(2)))
    # When as many runs come as there are slots, then each has one
    decisions = story.hear(*(requested(f"b{number}") for number in range(4)))
    went = Counter(one.incarnation for one in decisions if isinstance(one, RunAssigned))
    assert went == {"quick": 2, "new": 2}


def test_a_run_that_has_waited_ahead_in_vain_waits_for_all_and_nobody_follows_it() -> None:
    # Given a run that waits ahead on a worker whose runs were short, behind one that is not
    story = Story()
    story.hear(worker_started("i1", "w1", lane(1)))
    story.hear(requested("a"))
    story.hear(finished("a", "completed", run_seconds=0.001))
    assert kinds(story.hear(requested("long"), requested("ahead"))) == [("assigned", "long"), ("assigned", "ahead")]
    # When it is given back, then it is assigned to nobody while the slot is taken, and then before a later one
    assert kinds(story.hear(finished("ahead", "released"), requested("later"))) == [("requeued", "ahead")]
    assert kinds(story.hear(worker_started("i2", "w2", lane(1)))) == [("assigned", "ahead")]
    assert kinds(story.hear(finished("long", "completed", run_seconds=9))) == [
        ("completed", "long"),
        ("assigned", "later"),
    ]


def test_a_repeated_request_runs_once() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1", lane(8)))
    story.hear(requested("a"))
    assert story.hear(requested("a")) == []


def test_a_repeated_request_of_an_ended_run_starts_nothing() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"), finished("a", "completed"))
    story.hear(finished("a", "completed"))
    assert story.hear(requested("a")) == []


def test_a_repeated_report_ends_a_run_once() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    assert kinds(story.hear(finished("a", "completed"), finished("a", "completed"))) == [("completed", "a")]


def test_a_report_of_an_old_attempt_is_ignored() -> None:
    # Given a run whose first attempt was lost and that runs again elsewhere
    story = Story()
    story.hear(worker_started("i1", "w1"))
    story.hear(requested("a"))
    story.hear(worker_started("i2", "w1"))
    # When the old attempt reports after all, then nobody listens
    assert story.hear(finished("a", "completed", attempt=1, incarnation="i1")) == []


def test_a_report_of_an_old_attempt_of_the_same_worker_is_ignored() -> None:
    # Given a run that its worker has lost, and has again in a second attempt
    story = Story()
    story.hear(worker_started(), requested("a"))
    story.hear(heartbeat("i1", ("a", 1)))
    lost = [event for _ in range(5) for event in story.hear(heartbeat("i1"))]
    assert kinds(lost) == [("requeued", "a"), ("assigned", "a")]
    # When it reports the first attempt after all, then only the second one counts
    assert story.hear(finished("a", "completed", attempt=1)) == []
    assert kinds(story.hear(finished("a", "completed", attempt=2))) == [("completed", "a")]


def test_a_waiting_run_is_stopped_at_once() -> None:
    story = Story()
    story.hear(requested("a"))
    assert kinds(story.hear(RunStopRequested(subject="a"))) == [("stopped", "a")]
    assert story.hear(worker_started()) == []


def test_a_stop_of_a_running_run_is_passed_to_its_worker_once() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    stop = RunStopRequested(subject="a")
    (passed,) = story.hear(stop, stop)
    assert isinstance(passed, RunStopPassed)
    assert passed.copy_to == ("inbox.worker.i1",)


def test_a_silent_worker_loses_its_runs_to_another() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started("i1", "w1"))
    story.hear(requested("a"))
    story.hear(heartbeat("i1", ("a", 1)))
    story.now = 2.0
    story.hear(worker_started("i2", "w2"))
    assert kinds(story.wait(1.0)) == [("fenced", "i1"), ("requeued", "a"), ("assigned", "a")]
    assert story.mind.state.jobs["a"].attempt == 2


def test_a_worker_that_speaks_keeps_its_runs() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started())
    story.hear(requested("a"))
    for _ in range(10):
        story.hear(heartbeat("i1", ("a", 1)))
        assert story.wait(1.0) == []


def test_after_a_gap_everybody_has_a_full_term() -> None:
    story = Story(lease=2.5)
    story.hear(worker_started())
    story.hear(requested("a"))
    story.hear(heartbeat("i1", ("a", 1)))
    # When nobody could be heard for a while
    story.now += 60
    story.mind.grant_full_terms(story.now)
    # Then nobody is judged for it
    assert story.wait(2.0) == []


def test_a_new_incarnation_ends_the_old_one_without_waiting() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"))
    story.hear(requested("a"))
    assert kinds(story.hear(worker_started("i2", "w1"))) == [("fenced", "i1"), ("requeued", "a"), ("assigned", "a")]


def test_three_lost_attempts_fail_the_run() -> None:
    story = Story(max_lost=3)
    story.hear(requested("a"))
    for number in range(1, 5):
        story.hear(worker_started(f"i{number}", "w1"))
        story.hear(started("a", number, f"i{number}"))
    (end,) = [event for event in story.said if isinstance(event, RunFailed)]
    assert end.result.error is not None
    assert end.result.error.code == "worker_lost"


def test_a_lost_run_that_was_asked_to_stop_is_stopped() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"))
    story.hear(requested("a"))
    story.hear(RunStopRequested(subject="a"))
    assert ("stopped", "a") in kinds(story.hear(worker_started("i2", "w1")))


def test_an_unclaimed_assignment_times_out() -> None:
    story = Story(claim_timeout=10, lease=2.5)
    story.hear(worker_started())
    story.hear(requested("a"))
    for _ in range(11):
        story.hear(heartbeat("i1"))
        story.wait(1.0)
    assert ("requeued", "a") in kinds(story.said)


def test_a_claimed_run_that_heartbeats_no_longer_list_is_lost() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    story.hear(heartbeat("i1", ("a", 1)))
    decisions = [event for _ in range(5) for event in story.hear(heartbeat("i1"))]
    assert kinds(decisions) == [("requeued", "a"), ("assigned", "a")]


def test_draining_costs_no_attempt() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1"), requested("a"))
    story.hear(WorkerDraining(subject="i1", worker_id="w1"))
    story.hear(finished("a", "released"))
    assert story.mind.state.jobs["a"].lost == 0
    assert story.mind.state.jobs["a"].lease is None


def test_a_draining_worker_gets_nothing_new() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(WorkerDraining(subject="i1", worker_id="w1"))
    assert story.hear(requested("a")) == []


def test_a_stopped_worker_gives_back_what_it_had() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    (decision,) = story.hear(WorkerStopped(subject="i1", worker_id="w1"))
    assert isinstance(decision, RunRequeued)
    assert decision.lost == 0


def test_higher_priority_goes_first_then_age() -> None:
    story = Story()
    story.hear(requested("old"), requested("new"), requested("urgent", priority=5))
    story.hear(worker_started())
    order = []
    for _ in range(3):
        (assigned,) = [event for event in story.said if isinstance(event, RunAssigned)][-1:]
        order.append(assigned.subject)
        story.hear(finished(assigned.subject, "completed", run_seconds=9))
    assert order == ["urgent", "old", "new"]


def test_projects_share_fairly_by_running_runs() -> None:
    # Given a project with a hundred runs that came first, and one with two
    story = Story()
    story.hear(*[requested(f"big{number}", "big") for number in range(100)])
    story.hear(requested("small0", "small"), requested("small1", "small"))
    # When there is room for four
    decisions = story.hear(worker_started("i1", "w1", lane(4)))
    # Then each gets two
    assert Counter(event.project for event in decisions) == {"big": 2, "small": 2}


def test_a_wanted_card_that_is_busy_is_waited_for() -> None:
    story = Story()
    story.hear(worker_started("i1", "w1", lane(4), lane(1, "gpu")))
    decisions = story.hear(requested("a", devices=("gpu", "cpu")), requested("b", devices=("gpu", "cpu")))
    assert [event.device_class for event in decisions if isinstance(event, RunAssigned)] == ["gpu"]


def test_where_nobody_has_a_card_the_processor_will_do() -> None:
    story = Story()
    story.hear(worker_started())
    (decision,) = story.hear(requested("a", devices=("gpu", "cpu")))
    assert isinstance(decision, RunAssigned)
    assert decision.device_class == "cpu"


def test_a_run_that_no_worker_can_ever_take_fails_with_the_reason() -> None:
    story = Story(no_device_timeout=60, lease=1e9)
    story.hear(worker_started())
    story.hear(requested("a", devices=("gpu",)))
    story.wait(1)
    (end,) = story.wait(61)
    assert isinstance(end, RunFailed)
    assert end.result.error is not None
    assert "No worker offers gpu" in end.result.error.message


def restored(*events: Event) -> tuple[Dispatcher, list[Event]]:
    ledger = Ledger()
    epoch, good = review(ledger.epoch, events)
    ledger.apply(1, epoch, good)
    mind = Dispatcher(Settings(), epoch=2, instance="s2")
    return mind, mind.restore(ledger.snapshot(datetime.now(UTC)), now=100.0)


def test_a_successor_knows_what_waits_and_what_runs() -> None:
    # Given a scheduler that has assigned one of two runs
    first = Story()
    first.hear(worker_started())
    events = [requested("a"), requested("b")]
    decisions = first.hear(*events)
    # When another takes over from the records
    mind, _ = restored(*events, *decisions)
    # Then it has both, and leaves the leased one with its worker
    assert {run: job.lease is not None for run, job in mind.state.jobs.items()} == {"a": True, "b": False}


@pytest.mark.parametrize(("listed", "comes"), [(True, []), (False, [("requeued", "a"), ("assigned", "a")])])
def test_what_a_worker_was_perhaps_never_told_is_its_own_once_it_says_so(
    listed: bool, comes: list[tuple[str, str]]
) -> None:
    # Given a successor of a scheduler that died between the assignment for all and the worker's own
    first = Story()
    mind, _ = restored(requested("a"), *first.hear(worker_started(), requested("a"))[:1])
    mind.on_worker_started(worker_started("i2", "w2"), 100.0)
    # When the worker lists it, or not, for as long as it may take to claim it
    for now in range(101, 112):
        mind.on_heartbeat(heartbeat("i1", *([("a", 1)] if listed else [])), float(now))
        mind.on_heartbeat(heartbeat("i2", worker_id="w2"), float(now))
    # Then it is assigned anew where it is not
    assert kinds([*mind.judge(112.0), *mind.plan(112.0)]) == comes


def test_a_successor_takes_the_report_of_an_attempt_it_did_not_assign() -> None:
    first = Story()
    first.hear(worker_started())
    request = requested("a")
    mind, _ = restored(request, *first.hear(request))
    assert kinds(mind.on_finished(finished("a", "completed"), 101.0)) == [("completed", "a")]


def test_a_successor_settles_a_stop_that_came_while_nobody_decided() -> None:
    _, decisions = restored(requested("a"), RunStopRequested(subject="a"))
    assert [type(event) for event in decisions] == [RunStopped]


def test_a_successor_does_not_run_an_ended_run_again() -> None:
    request = requested("a")
    end = RunCompleted(subject="a", attempt=1, epoch=1, result=Result())
    mind, _ = restored(request, end)
    assert (mind.on_requested(request, 101.0), mind.state.jobs) == ([], {})


def test_a_successor_does_not_run_again_what_the_snapshot_knows_by_its_name_alone() -> None:
    snapshot = Ledger().snapshot(datetime.now(UTC)).model_copy(update={"settled": ["a"]})
    mind = Dispatcher(Settings(), epoch=2, instance="s2")
    mind.restore(snapshot, now=100.0)
    assert (mind.on_requested(requested("a"), 101.0), mind.state.jobs) == ([], {})


@pytest.mark.parametrize(
    ("lost", "stop", "verdict"), [(1, False, "again"), (2, False, "again"), (3, False, "failed"), (1, True, "stopped")]
)
def test_what_becomes_of_a_lost_attempt(lost: int, stop: bool, verdict: str) -> None:
    job = Job("a", "p", work(), datetime.now(UTC), 0, lost=lost, stop_requested=stop)
    assert after_loss(job, max_lost=3) == verdict


@pytest.mark.parametrize(
    ("outcome", "stop", "verdict"),
    [
        ("completed", False, "completed"),
        ("completed", True, "completed"),
        ("failed", False, "failed"),
        ("failed", True, "stopped"),
        ("stopped", True, "stopped"),
        ("stopped", False, "stopped"),
        ("released", False, "again"),
        ("released", True, "stopped"),
    ],
)
def test_what_becomes_of_a_reported_attempt(outcome: str, stop: bool, verdict: str) -> None:
    assert after_report(outcome, stop) == verdict


def test_a_decision_of_an_old_scheduler_is_refused() -> None:
    from messages.scheduler import SchedulerStarted

    old = RunCompleted(subject="a", epoch=1, attempt=1, result=Result())
    ledger = Ledger()
    epoch, _ = review(ledger.epoch, [SchedulerStarted(subject="one"), SchedulerStarted(subject="two")])
    assert review(epoch, [old]) == (epoch, [])


def test_an_admission_that_is_repeated_changes_nothing() -> None:
    from messages.scheduler import SchedulerStarted

    event = SchedulerStarted(subject="one")
    epoch, _ = review(Ledger().epoch, [event])
    assert review(epoch, [event])[0] == epoch


def test_started_claims_a_lease() -> None:
    story = Story()
    story.hear(worker_started())
    story.hear(requested("a"))
    story.hear(
        RunStarted(subject="a", attempt=1, epoch=1, worker_id="w1", incarnation="i1", device_class="cpu", device="cpu")
    )
    lease = story.mind.state.jobs["a"].lease
    assert lease is not None
    assert lease.claimed


def test_the_cost_of_a_decision_hardly_grows_with_the_queue_and_the_workers() -> None:
    """Counted in steps of the interpreter, not in seconds: a clock would make the test depend on the machine."""
    small, large = _steps_per_decision(100, 10), _steps_per_decision(20_000, 500)
    assert large < 3 * small


def _steps_per_decision(queued: int, workers: int) -> float:
    import sys

    story = Story()
    for number in range(queued):
        story.mind.on_requested(requested(f"r{number}", f"p{number % 5}"), 0.0)
    for number in range(workers):
        story.mind.on_worker_started(worker_started(f"i{number}", f"w{number}"), 0.0)
    steps = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        decisions = len(story.mind.plan(time.monotonic()))
    finally:
        sys.setprofile(None)
    return steps / decisions


@pytest.mark.parametrize(
    ("mean_secs", "ahead"), [(0.0, 8), (0.001, 8), (0.02, 5), (0.05, 2), (0.07, 1), (0.4, 1), (0.5, 0), (9.0, 0)]
)
def test_the_quicker_runs_are_the_more_go_ahead(mean_secs: float, ahead: int) -> None:
    assert runs_ahead(mean_secs) == ahead
