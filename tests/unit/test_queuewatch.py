"""Rates and ages of queues, out of the events that were heard and of how many waited when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from messages.base import Event, is_inbox
from messages.files import FileCommitted, FileUploaded
from messages.runs import Result, RunRequested, RunStopPassed
from messages.scheduler import SchedulerAdmitted, SchedulerStarted, SchedulerWaiting
from messages.wire import EVENTS
from messages.workers import WorkerFenced, WorkerStarted, WorkerStopped
from services.gateway.views.queues import (
    BUSY_SECONDS,
    BUSY_SECONDS_OF_A_WORKER,
    MOST_SCHEDULERS,
    MOST_WORKERS,
    WINDOW_SECS,
    QueueWatch,
)
from shared.bus.base import QueueStats
from shared.bus.topology import ALL, admission_queue, in_stream, matches, worker_queue
from tests.each import each
from tests.unit.gateway_samples import assigned, completed, work
from voxloom.models import QueueFigures

START = datetime(2026, 11, 21, tzinfo=UTC)


class Story:
    """A watch, a clock of its own, and how many wait in which queue."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: dict[str, int] = {}
        self.watch = QueueWatch(clock=lambda: START.timestamp() + self.now)

    def at(self, second: float) -> datetime:
        return START + timedelta(seconds=second)

    def upload(self, *seconds: float) -> None:
        """Events for the queue `ingest`, said at those times."""
        for second in seconds:
            self.now = max(self.now, second)
            self.watch.hear(FileUploaded(subject="f", size=1, etag="e", time=self.at(second)))

    def sample(self, second: float, **waiting: int) -> None:
        self.now = second
        self.waiting.update(waiting)
        self.watch.sample([QueueStats(name, count, 1) for name, count in self.waiting.items()])

    def figures(self, name: str = "ingest") -> QueueFigures:
        return next(one for one in self.watch.report() if one.name == name)


@pytest.fixture
def story() -> Story:
    return Story()


# --- the oldest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "waiting", "now", "age", "at_least"),
    [
        ([], 0, 100, None, False),
        ([10], 0, 100, None, False),
        ([10], 1, 100, 90, False),
        ([10, 20, 30], 1, 100, 70, False),
        ([10, 20, 30], 2, 100, 80, False),
        ([10, 20, 30], 3, 100, 90, False),
        ([10, 20, 30], 4, 100, 90, True),
        ([10, 20, 30], 10**9, 100, 90, True),
        ([10, 10.4, 10.9, 30], 2, 100, 90, False),  # as exact as a second
        ([10, 10.4, 11.1], 1, 100, 88.9, False),
        ([10, 9.5, 20], 2, 100, 90, False),  # a clock that is a little behind
        ([10, 20], -1, 100, None, False),
    ],
)
def test_the_oldest_of_so_many_is_the_one_that_came_so_many_events_ago(
    story: Story, came: list[float], waiting: int, now: float, age: float | None, at_least: bool
) -> None:
    story.upload(*came)
    story.sample(now, ingest=waiting)
    figures = story.figures()
    assert figures.oldest_seconds == (None if age is None else pytest.approx(age))
    assert figures.oldest_at_least is at_least


def test_what_waits_grows_older_between_two_looks(story: Story) -> None:
    story.upload(10)
    story.sample(12, ingest=1)
    story.now = 15
    assert story.figures().oldest_seconds == pytest.approx(5)


def test_what_came_before_anything_was_heard_is_at_least_so_old(story: Story) -> None:
    story.now = 50
    story.watch.hear(FileCommitted(subject="f", size=1, etag="e", datasets=[], time=story.at(40)))
    story.sample(100, ingest=3)
    figures = story.figures()
    assert figures.oldest_at_least
    assert figures.oldest_seconds == pytest.approx(60)


def test_where_nothing_at_all_was_heard_no_age_is_told(story: Story) -> None:
    story.sample(100, ingest=3)
    assert story.figures().oldest_seconds is None


def test_only_so_many_busy_seconds_are_remembered(story: Story) -> None:
    story.upload(*range(BUSY_SECONDS + 100))
    story.sample(BUSY_SECONDS + 100, ingest=BUSY_SECONDS + 50)
    figures = story.figures()
    assert figures.oldest_at_least
    assert figures.oldest_seconds == pytest.approx(BUSY_SECONDS)


def test_a_clock_that_is_far_ahead_does_not_make_others_look_young(story: Story) -> None:
    # Given an event from a machine whose clock is an hour ahead
    story.now = 10
    story.watch.hear(FileUploaded(subject="f", size=1, etag="e", time=story.at(3600)))
    # When others come later, then they have an age of their own
    story.upload(20, 30)
    story.sample(100, ingest=2)
    assert story.figures().oldest_seconds == pytest.approx(80)


# --- rates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "before", "after", "rate_in", "rate_out"),
    [
        (0, 0, 0, 0, 0),
        (20, 0, 0, 2, 2),
        (20, 0, 20, 2, 0),
        (20, 30, 0, 2, 5),
        (20, 0, 5, 2, 1.5),
        (0, 10, 0, 0, 1),
        (0, 0, 10, 0, 0),  # given back, or replayed: no event, and none that went
    ],
)
def test_what_came_and_did_not_stay_went_out(
    story: Story, came: int, before: int, after: int, rate_in: float, rate_out: float
) -> None:
    story.sample(0, ingest=before)
    story.upload(*[5.0] * came)
    story.sample(10, ingest=after)
    figures = story.figures()
    assert figures.in_per_second == pytest.approx(rate_in)
    assert figures.out_per_second == pytest.approx(rate_out)


def test_one_look_tells_no_rate(story: Story) -> None:
    story.upload(1, 2, 3)
    story.sample(10, ingest=1)
    assert (story.figures().in_per_second, story.figures().out_per_second) == (None, None)


@pytest.mark.parametrize("second", [10, 9])
def test_a_clock_that_does_not_move_on_tells_no_rate(story: Story, second: float) -> None:
    story.sample(10, ingest=1)
    story.sample(second, ingest=1)
    assert story.figures().in_per_second is None


def test_rates_are_of_the_last_minute(story: Story) -> None:
    # Given a busy beginning and a quiet minute after it
    story.sample(0, ingest=0)
    story.upload(*[1.0] * 1000)
    for second in range(2, int(WINDOW_SECS) + 10, 2):
        story.sample(second, ingest=0)
    assert (story.figures().in_per_second, story.figures().out_per_second) == (0, 0)


def test_after_a_gap_rates_begin_anew(story: Story) -> None:
    story.sample(0, ingest=0)
    story.upload(1, 2, 3)
    story.sample(2 * WINDOW_SECS, ingest=0)
    assert story.figures().in_per_second is None


def test_what_was_told_of_the_past_is_no_rate(story: Story) -> None:
    # Given a stream that was read from its beginning before the first look
    story.upload(*range(1000))
    story.sample(1000, ingest=0)
    story.sample(1010, ingest=0)
    assert story.figures().in_per_second == 0


# --- which queue ------------------------------------------------------------------------------------------


def came_to(story: Story, event: Event) -> set[str]:
    """The queues that an event comes to, as the rates tell."""
    names = [queue.name for queue in ALL] + story.watch.of_instances()
    story.sample(0, **dict.fromkeys(names, 0))
    story.watch.hear(event)
    story.sample(1)
    return {one.name for one in story.watch.report() if one.in_per_second}


@each("name", sorted(EVENTS))
def test_a_kind_comes_to_the_queues_that_are_bound_to_it(name: str) -> None:
    entity, cls = EVENTS[name]
    event = cls.model_construct(**cls.told_by(entity), subject="s", project="p", time=START, incarnation="i")
    bound = {q.name for q in ALL if any(matches(pattern, event.routing_key) for pattern in q.bindings)}
    if cls.copy_to is Event.copy_to and in_stream([event.routing_key]):
        assert came_to(Story(), event) == bound


def test_bindings_name_kinds_and_nothing_beyond() -> None:
    """Or else which queues an event comes to could not be worked out once for its class."""
    patterns = [pattern for queue in ALL for pattern in queue.bindings if not is_inbox(pattern)]
    assert [one for one in patterns if not one.endswith(".#") or len(one.split(".")) > 3] == []


def test_queues_of_one_worker_or_scheduler_are_bound_as_they_are_counted() -> None:
    assert worker_queue("i").bindings == ("inbox.worker.i", "scheduler.admitted.#")
    assert admission_queue("i").bindings == ("scheduler.admitted.#",)


def test_what_is_copied_to_a_worker_comes_to_its_queue_alone(story: Story) -> None:
    for incarnation in ("i1", "i2"):
        story.watch.hear(WorkerStarted(subject=incarnation, worker_id="w", lanes=[]))
    assert came_to(story, assigned("run", attempt=1)) == {"recorder", "worker.i1"}


def test_a_passed_stop_comes_to_the_worker_and_to_no_queue_of_the_system(story: Story) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    assert came_to(story, RunStopPassed(subject="run", epoch=1, incarnation="i1")) == {"worker.i1"}


def test_an_end_comes_to_all_who_want_it(story: Story) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    end = completed("run").model_copy(update={"incarnation": "i1"})
    assert came_to(story, end) == {"recorder", "worker.i1"}
    left = end.model_copy(update={"result": Result(staged=1)})
    assert came_to(story, left) == {"recorder", "worker.i1", "sweeper"}


def test_an_admission_comes_to_every_worker_and_scheduler(story: Story) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    story.watch.hear(SchedulerWaiting(subject="s1"))
    story.watch.hear(SchedulerStarted(subject="term", source="scheduler/s2"))
    admitted = SchedulerAdmitted(subject="term", epoch=1, snapshot_key="k")
    assert came_to(story, admitted) == {"worker.i1", "scheduler.s1", "scheduler.s2"}


@pytest.mark.parametrize(
    "end",
    [
        WorkerStopped(subject="i1", worker_id="w"),
        WorkerFenced(subject="i1", worker_id="w", epoch=1, reason="silent"),
    ],
)
def test_the_queue_of_a_worker_that_is_gone_is_forgotten(story: Story, end: Event) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    assert story.watch.of_instances() == ["worker.i1"]
    story.watch.hear(end)
    assert story.watch.of_instances() == []
    assert came_to(story, assigned("run", attempt=1)) == {"recorder"}


def test_a_worker_that_says_twice_that_it_started_is_one(story: Story) -> None:
    for _ in range(2):
        story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
        story.watch.hear(SchedulerWaiting(subject="s1"))
    assert story.watch.of_instances() == ["worker.i1", "scheduler.s1"]


def test_only_so_many_workers_and_schedulers_are_known(story: Story) -> None:
    for number in range(MOST_WORKERS + 2):
        story.watch.hear(WorkerStarted(subject=f"i{number}", worker_id="w", lanes=[]))
    for number in range(MOST_SCHEDULERS + 2):
        story.watch.hear(SchedulerWaiting(subject=f"s{number}"))
    names = story.watch.of_instances()
    assert len(names) == MOST_WORKERS + MOST_SCHEDULERS
    assert not {"worker.i0", "worker.i1", "scheduler.s0", "scheduler.s1"} & set(names)


def test_of_a_worker_fewer_busy_seconds_are_remembered(story: Story) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    for second in range(2 * BUSY_SECONDS_OF_A_WORKER):
        story.now = second
        story.watch.hear(assigned("run").model_copy(update={"time": story.at(second)}))
    story.sample(2 * BUSY_SECONDS_OF_A_WORKER, **{"worker.i1": 100})
    figures = story.figures("worker.i1")
    assert figures.oldest_at_least
    assert figures.oldest_seconds == pytest.approx(BUSY_SECONDS_OF_A_WORKER)


# --- the report -------------------------------------------------------------------------------------------


def test_queues_of_the_system_come_first_and_in_their_order(story: Story) -> None:
    story.watch.hear(WorkerStarted(subject="i1", worker_id="w", lanes=[]))
    names = ["other", "worker.i1", *reversed([queue.name for queue in ALL])]
    story.sample(0, **dict.fromkeys(names, 0))
    assert [one.name for one in story.watch.report()] == [*(queue.name for queue in ALL), "worker.i1", "other"]


def test_of_a_queue_that_nobody_knows_the_depth_is_told(story: Story) -> None:
    story.sample(0, other=7)
    story.sample(10, other=9)
    assert story.figures("other") == QueueFigures(name="other", waiting=9, consumers=1)


def test_a_queue_that_is_gone_is_not_told_of(story: Story) -> None:
    story.sample(0, ingest=1, other=1)
    story.watch.sample([QueueStats("ingest", 1, 1)])
    assert [one.name for one in story.watch.report()] == ["ingest"]


def test_an_event_that_comes_to_no_queue_counts_nowhere(story: Story) -> None:
    assert came_to(story, FileCommitted(subject="f", size=1, etag="e", datasets=[])) == set()


def test_a_request_comes_to_recorder_and_scheduler(story: Story) -> None:
    assert came_to(story, RunRequested(subject="r", work=work())) == {"recorder", "scheduler"}
