"""Runs that may be what brings their workers down: which losses count, and that such a run is tried alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from messages.base import Event
from messages.runs import RunAssigned, RunFailed, RunStopRequested
from messages.workers import WorkerDraining
from services.scheduler.dispatcher import Dispatcher
from shared.records.ledger import Ledger, review
from tests.given import Given
from tests.unit.scheduler_story import Story, finished, kinds, lane, requested, started, worker_started


def lose(story: Story, run: str, *, times: int, slots: int = 2, begun: bool = True) -> str:
    """The worker dies so often while the run is on it; the incarnation that has come last."""
    job = story.mind.state.jobs[run]
    for _ in range(times):
        if begun and job.lease is not None:
            story.hear(started(run, job.attempt, job.lease.incarnation))
        story.hear(worker_started(f"i{job.attempt + 1}", "w1", lane(slots)))
    return f"i{job.attempt}" if job.lease else f"i{job.attempt + 1}"


def assigned(events: list[Event]) -> list[str]:
    return [event.subject for event in events if isinstance(event, RunAssigned)]


@pytest.fixture
def story() -> Story:
    story = Story(max_lost=10, alone_after_lost=3)
    story.hear(worker_started("i1", "w1", lane(2)))
    return story


@pytest.fixture
def kept() -> Story:
    """Run `a` was lost; worker `j1` is kept for it, and still has `b`. No other worker has a slot."""
    story = Story(alone_after_lost=1)
    story.hear(worker_started("i1", "w1", lane(1)), requested("a"))
    story.hear(started("a"))
    story.hear(worker_started("j1", "w2", lane(2)), requested("b"))
    story.hear(worker_started("i2", "w1", lane(0)))
    assert story.mind.state.workers["j1"].kept_for == "a"
    return story


def test_losses_before_the_code_began_do_not_count(story: Story) -> None:
    story.hear(requested("a"))
    lose(story, "a", times=20, begun=False)
    job = story.mind.state.jobs["a"]
    assert (job.lost, job.attempt) == (0, 21)


def test_after_ten_that_count_the_run_has_failed(story: Story) -> None:
    story.hear(requested("a"))
    lose(story, "a", times=9)
    assert [event for event in story.said if isinstance(event, RunFailed)] == []
    lose(story, "a", times=1)
    (end,) = [event for event in story.said if isinstance(event, RunFailed)]
    assert end.result.error is not None
    assert end.result.error.code == "worker_lost"
    assert "10 times" in end.result.error.message


def test_after_three_nothing_else_runs_beside_it(story: Story) -> None:
    # Given a run that was lost three times
    story.hear(requested("a"))
    incarnation = lose(story, "a", times=3)
    # When others come, then they wait although a slot is free, and go on as soon as it has ended
    assert assigned(story.hear(requested("b"), requested("c"))) == []
    attempt = story.mind.state.jobs["a"].attempt
    assert assigned(story.hear(finished("a", "completed", attempt, incarnation))) == ["b", "c"]


def test_one_that_is_to_be_alone_waits_for_those_that_run_and_nobody_new_comes_before_it(kept: Story) -> None:
    # Given a worker that is kept for a run, and still has another: then nobody new gets its free slot
    assert assigned(kept.hear(requested("c"))) == []
    # When the other has ended, then the run has it
    assert assigned(kept.hear(finished("b", "completed", 1, "j1"))) == ["a"]


def test_other_workers_go_on_meanwhile(story: Story) -> None:
    story.hear(requested("a"))
    lose(story, "a", times=3)
    story.hear(worker_started("j1", "w2", lane(1)))
    decisions = story.hear(requested("b"))
    assert [(one.subject, one.incarnation) for one in decisions if isinstance(one, RunAssigned)] == [("b", "j1")]


def test_one_that_is_stopped_while_it_waits_to_be_alone_keeps_no_worker(kept: Story) -> None:
    decisions = kept.hear(RunStopRequested(subject="a"), requested("c"))
    assert kinds(decisions) == [("stopped", "a"), ("assigned", "c")]


def test_a_worker_that_is_kept_and_drains_is_no_longer_waited_for(kept: Story) -> None:
    kept.hear(WorkerDraining(subject="j1", worker_id="w2"))
    assert assigned(kept.hear(worker_started("k1", "w3", lane(2)))) == ["a"]


def test_one_that_no_worker_can_take_fails_in_time() -> None:
    story = Story(alone_after_lost=1, no_device_timeout=60)
    gpu = lane(1, "gpu")
    story.hear(worker_started("i1", "w1", gpu), requested("a", devices=("gpu",)))
    story.hear(started("a"))
    story.hear(worker_started("i2", "w1", lane(1)))
    story.mind.grant_full_terms(story.now + 61)
    assert story.wait(0.0) == []
    assert [event.verb for event in story.wait(61.0) if event.subject == "a"] == ["failed"]


@pytest.mark.parametrize(("begun", "lost"), [(True, 1), (False, 0)], ids=["begun", "not begun"])
def test_a_successor_knows_whether_the_code_had_begun(begun: bool, lost: int) -> None:
    # Given the records of a run that was assigned, and perhaps had begun
    first = Story()
    request = requested("a")
    decisions = first.hear(worker_started(), request)
    events = [request, *decisions, *([started("a")] if begun else [])]
    ledger = Ledger()
    epoch, good = review(ledger.epoch, events)
    ledger.apply(1, epoch, good)
    # When its worker is gone by the time that another scheduler takes over
    mind = Dispatcher(Given(), epoch=2, instance="s2")
    mind.restore(ledger.snapshot(datetime.now(UTC)), now=0.0)
    mind.judge(100.0)
    # Then the loss counts if it had
    assert mind.state.jobs["a"].lost == lost
