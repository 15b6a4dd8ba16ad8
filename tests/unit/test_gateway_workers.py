"""What the gateway knows of workers, from their events and heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from messages.base import Event
from messages.workers import (
    Holding,
    Lane,
    WorkerDraining,
    WorkerFenced,
    WorkerHeartbeat,
    WorkerStarted,
    WorkerStopped,
)
from services.gateway.views import workers
from services.gateway.views.workers import GONE_SECS, MOST, SILENT_SECS, Workers
from shared.records.fold import RunState, fold
from tests.unit.gateway_samples import assigned, completed, requested, started
from voxloom.models import Status, WorkerRecord, utc_now

LEASE = 2.5
CPU = Lane(device_class="cpu", device="cpu", slots=4)
GPU = Lane(device_class="gpu", device="cuda", slots=1)


class Story:
    """A view with a clock of its own, and runs as another view knows them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs: dict[str, RunState] = {}
        self.workers = Workers(LEASE, lambda: self.now)

    def hear(self, *events: Event) -> None:
        for event in events:
            self.workers.hear(event)

    def fold(self, *events: Event) -> None:
        for event in events:
            self.runs[event.subject] = fold(self.runs.get(event.subject), event)

    def records(self) -> list[WorkerRecord]:
        return self.workers.records(self.runs.get)

    def only(self) -> WorkerRecord:
        (record,) = self.records()
        return record


@pytest.fixture
def story() -> Story:
    return Story()


def start(incarnation: str = "i1", worker_id: str = "w", time: datetime | None = None) -> WorkerStarted:
    return WorkerStarted(subject=incarnation, worker_id=worker_id, lanes=[CPU], time=time or utc_now())


def beat(incarnation: str = "i1", holding: Sequence[tuple[str, int]] = (), **facts: Any) -> WorkerHeartbeat:
    held = [Holding(run=run, attempt=attempt) for run, attempt in holding]
    return WorkerHeartbeat(**{"subject": incarnation, "worker_id": "w", "lanes": [CPU], "holding": held, **facts})


# --- who is there -----------------------------------------------------------------------------------------


def test_a_worker_is_there_as_soon_as_it_says_so(story: Story) -> None:
    event = start()
    story.hear(event)
    record = story.only()
    assert (record.worker_id, record.incarnation, record.state) == ("w", "i1", "live")
    assert datetime.fromisoformat(record.started) == event.time
    assert (record.free_slots, record.heartbeat_seconds) == (4, None)


def test_a_worker_whose_start_was_not_heard_is_known_by_its_heartbeats(story: Story) -> None:
    story.hear(beat(lanes=[CPU, GPU], host="bench-1", pid=7, release="1.2"))
    record = story.only()
    assert (record.state, record.started, record.free_slots) == ("live", "", 5)
    assert (record.host, record.pid, record.version) == ("bench-1", 7, "1.2")


def test_a_heartbeat_may_come_before_the_start_that_it_follows(story: Story) -> None:
    story.hear(beat(), start())
    record = story.only()
    assert (record.state, record.started != "") == ("live", True)


def test_one_that_has_not_beaten_for_a_lease_is_silent_until_it_does(story: Story) -> None:
    story.hear(start(), beat())
    story.now += LEASE + 0.1
    assert story.only().state == "silent"
    assert story.only().heartbeat_seconds == pytest.approx(LEASE + 0.1)
    story.hear(beat())
    assert story.only().state == "live"


def test_one_that_drains_has_no_room(story: Story) -> None:
    story.hear(start(), WorkerDraining(subject="i1", worker_id="w"))
    assert (story.only().state, story.only().free_slots) == ("draining", 0)


def test_draining_is_also_told_by_a_heartbeat(story: Story) -> None:
    story.hear(beat(draining=True))
    assert story.only().state == "draining"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (WorkerStopped(subject="i1", worker_id="w"), "stopped"),
        (WorkerFenced(subject="i1", worker_id="w", epoch=1, reason="silent"), "silent"),
        (WorkerFenced(subject="i1", worker_id="w", epoch=1, reason="replaced"), "replaced"),
        (start("i2"), "replaced"),
    ],
)
def test_one_that_is_gone_says_why(story: Story, end: Event, reason: str) -> None:
    # It was made when the tests were collected, which may be long ago.
    story.hear(start(), beat(holding=[("run", 1)]), end.model_copy(update={"time": utc_now()}))
    record = next(one for one in story.records() if one.incarnation == "i1")
    assert (record.state, record.reason, record.runs, record.free_slots) == ("gone", reason, [], 0)


def test_the_first_reason_counts(story: Story) -> None:
    story.hear(start(), WorkerStopped(subject="i1", worker_id="w"), start("i2"))
    assert [(one.incarnation, one.reason) for one in story.records()] == [("i2", ""), ("i1", "stopped")]


def test_a_heartbeat_that_its_end_has_overtaken_brings_nobody_back(story: Story) -> None:
    story.hear(start(), WorkerStopped(subject="i1", worker_id="w"), beat())
    assert story.only().state == "gone"


def test_one_that_is_gone_is_shown_for_a_while(story: Story) -> None:
    story.hear(start(), WorkerStopped(subject="i1", worker_id="w"))
    story.now += GONE_SECS - 1
    assert story.only().state == "gone"
    story.now += 2
    assert story.records() == []


def test_one_that_is_silent_for_very_long_is_forgotten(story: Story) -> None:
    story.hear(start(), beat())
    story.now += SILENT_SECS + 1
    assert story.records() == []


def test_the_stream_tells_of_workers_that_were_gone_long_ago_and_they_are_not_shown(story: Story) -> None:
    long_ago = utc_now() - timedelta(seconds=2 * SILENT_SECS)
    story.hear(start(time=long_ago), WorkerStopped(subject="i1", worker_id="w", time=long_ago))
    story.hear(start("i2", "v", time=long_ago))
    assert story.records() == []


def test_a_worker_that_started_long_ago_and_still_beats_is_live(story: Story) -> None:
    story.hear(start(time=utc_now() - timedelta(seconds=2 * SILENT_SECS)), beat())
    assert story.only().state == "live"


def test_workers_of_other_names_are_not_replaced(story: Story) -> None:
    story.hear(start("i1", "a"), start("i2", "b"))
    assert [one.state for one in story.records()] == ["live", "live"]


def test_they_are_sorted_by_name_and_those_that_are_gone_come_last(story: Story) -> None:
    story.hear(start("i1", "a"), start("i2", "c"), start("i3", "b"), WorkerStopped(subject="i1", worker_id="a"))
    assert [one.worker_id for one in story.records()] == ["b", "c", "a"]


def test_only_so_many_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST", 3)
    story = Story()
    story.hear(*(start(f"i{number}", f"w{number}") for number in range(5)))
    assert [one.incarnation for one in story.records()] == ["i2", "i3", "i4"]
    assert MOST >= 1000


def test_they_are_counted_by_state(story: Story) -> None:
    story.hear(start("i1", "a"), start("i2", "b"), WorkerDraining(subject="i2", worker_id="b"), start("i3", "a"))
    assert story.workers.count() == {"live": 1, "draining": 1, "silent": 0, "gone": 1}


def test_what_they_offer_is_what_lives_and_takes_runs(story: Story) -> None:
    # Given one that is silent, one that drains, and two that live
    story.hear(beat("i0", worker_id="lost", lanes=[GPU]))
    story.now += LEASE + 1
    story.hear(beat("i1", worker_id="leaving", draining=True), beat("i2", worker_id="a"), beat("i3", worker_id="b"))
    # Then runs can wait for those two
    offers = story.workers.offers()
    assert (dict(offers.slots), set(offers.away)) == ({"cpu": 8}, {"gpu"})
    assert [story.workers.is_away(one) for one in ("i0", "i1", "i2", "nobody")] == [True, False, False, False]


def test_events_of_others_are_passed_over(story: Story) -> None:
    story.hear(requested(), completed("run"))
    assert story.records() == []


# --- what they do -----------------------------------------------------------------------------------------


def test_a_run_is_shown_where_it_is_with_its_algorithm_and_its_beginning(story: Story) -> None:
    begin = started("run")
    story.fold(requested("run"), assigned("run"), begin)
    story.hear(beat(holding=[("run", 1)]))
    record = story.only()
    (run,) = record.runs
    assert (run.execution_id, run.attempt, run.status) == ("run", 1, Status.RUNNING)
    assert (run.algorithm_name, run.algorithm_version, run.device_class) == ("Denoise", "1.0", "cpu")
    assert datetime.fromisoformat(run.since) == begin.time
    assert (record.lanes[0].busy, record.free_slots) == (1, 3)


def test_a_run_that_has_not_begun_is_shown_since_it_was_assigned(story: Story) -> None:
    choice = assigned("run")
    story.fold(requested("run"), choice)
    story.hear(beat(holding=[("run", 1)]))
    (run,) = story.only().runs
    assert (run.status, datetime.fromisoformat(run.since)) == (Status.STARTED, choice.time)


def test_a_later_attempt_does_not_show_the_beginning_of_an_earlier_one(story: Story) -> None:
    story.fold(requested("run"), assigned("run"), started("run"), choice := assigned("run", attempt=2))
    story.hear(beat("i2", holding=[("run", 2)]))
    (run,) = story.only().runs
    assert (run.attempt, datetime.fromisoformat(run.since)) == (2, choice.time)


def test_a_run_that_nobody_else_knows_is_shown_all_the_same(story: Story) -> None:
    story.hear(beat(holding=[("run", 3)]))
    (run,) = story.only().runs
    assert (run.execution_id, run.attempt, run.status) == ("run", 3, None)


def test_a_run_whose_request_is_not_known_has_no_name(story: Story) -> None:
    story.fold(assigned("run"))
    story.hear(beat(holding=[("run", 1)]))
    assert [one.algorithm_name for one in story.only().runs] == [""]


@pytest.mark.parametrize(
    "later",
    [
        completed("run"),  # it has ended, and the worker has not heard of it
        assigned("run", attempt=2),  # it went to another worker
    ],
)
def test_a_run_that_is_not_there_any_more_is_not_shown(story: Story, later: Event) -> None:
    story.fold(requested("run"), assigned("run"), started("run"), later)
    story.hear(beat(holding=[("run", 1)]))
    assert story.only().runs == []


def test_a_run_that_was_only_asked_for_is_not_shown(story: Story) -> None:
    story.fold(requested("run"))
    story.hear(beat(holding=[("run", 0)]))
    assert story.only().runs == []


def test_one_run_ahead_takes_no_room_that_is_not_there(story: Story) -> None:
    one = Lane(device_class="cpu", device="cpu", slots=1)
    story.fold(requested("a"), assigned("a"), requested("b"), assigned("b"))
    story.hear(beat(lanes=[one], holding=[("a", 1), ("b", 1)]))
    record = story.only()
    assert (record.lanes[0].busy, record.free_slots) == (2, 0)
