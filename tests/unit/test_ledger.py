"""The recorder's memory: what it forgets and what it must not, and that a copy on disk is as good as the original."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.base import Event
from messages.deploys import DeployCompleted, DeployRequested, DeployStarted
from messages.records import RecordsDeleteRequested
from messages.runs import RunStopRequested
from messages.scheduler import SchedulerStarted
from shared.records import ledger as ledger_module
from shared.records.deploys import DEPLOY
from shared.records.ledger import SETTLED_SECS, Epoch, Ledger, Snapshot, living, review
from tests.unit.memory_platform import assigned, completed, requested, whole
from voxloom.models import ExecutionSummary, utc_now

LATE = SETTLED_SECS + 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger_of(*events: Event, clock: Clock | None = None) -> Ledger:
    ledger = Ledger(clock=clock or Clock())
    epoch, good = review(ledger.epoch, events)
    ledger.apply(1, epoch, good)
    return ledger


def copy_of(ledger: Ledger, clock: Clock | None = None) -> Ledger:
    """What a start makes of its snapshot."""
    text = ledger.snapshot(utc_now()).model_dump_json()
    return Ledger(Snapshot.model_validate_json(text), clock=clock or Clock())


def store_all(ledger: Ledger) -> None:
    ledger.stored(ledger.to_store(100))


def test_a_run_that_has_ended_and_is_stored_is_a_row_and_a_settled_id() -> None:
    ledger = ledger_of(*whole("a"))
    store_all(ledger)
    assert (list(ledger.runs), [row.execution_id for row in ledger.rows], list(ledger.settled)) == ([], ["a"], ["a"])


def test_a_late_repetition_of_a_stored_run_starts_nothing() -> None:
    ledger = ledger_of(*whole("a"))
    store_all(ledger)
    ledger.apply(2, ledger.epoch, whole("a"))
    assert (ledger.runs, len(ledger.rows)) == ({}, 1)


def test_what_has_ended_is_forgotten_after_a_while() -> None:
    clock = Clock()
    ledger = ledger_of(*whole("a"), clock=clock)
    store_all(ledger)
    clock.now = LATE
    ledger.forget()
    assert not ledger.settled


def test_a_restart_long_after_remembers_what_had_just_ended() -> None:
    # Given a ledger that was written right after a run had ended, hours ago
    ledger = ledger_of(*[event.model_copy(update={"time": event.time - timedelta(hours=5)}) for event in whole("a")])
    store_all(ledger)
    # When it is read again
    again = copy_of(ledger)
    again.forget()
    # Then the run is still known to have ended: its request may be the first thing that is delivered again
    again.apply(2, again.epoch, [requested("a")])
    assert again.runs == {}


def test_a_run_whose_store_took_longer_than_the_memory_is_remembered_once_it_is_stored() -> None:
    clock = Clock()
    ledger = ledger_of(*whole("a"), clock=clock)
    clock.now = LATE
    ledger.forget()
    store_all(ledger)
    assert "a" in ledger.settled


def test_a_run_that_changes_while_it_is_stored_is_stored_again() -> None:
    ledger = ledger_of(*whole("a"))
    being_stored = ledger.to_store(10)
    ledger.apply(2, ledger.epoch, [RunStopRequested(subject="a")])
    ledger.stored(being_stored)
    assert [state.stop_requested is not None for state in ledger.to_store(10)] == [True]


def test_what_was_said_of_a_run_that_nobody_asked_for_is_forgotten_after_a_while() -> None:
    clock = Clock()
    ledger = ledger_of(RunStopRequested(subject="a"), assigned("b"), requested("c"), clock=clock)
    clock.now = LATE
    ledger.forget()
    assert list(ledger.runs) == ["c"]


def test_a_request_that_comes_behind_its_assignment_makes_it_a_run_like_others() -> None:
    clock = Clock()
    ledger = ledger_of(assigned("a"), requested("a"), clock=clock)
    clock.now = LATE
    ledger.forget()
    assert ledger.runs["a"].attempt == 1


def deployed(deploy: str, *, changed: bool = True) -> Event:
    return DeployCompleted(
        subject=deploy, algorithm_id="a", algorithm_name="n", algorithm_major_version="1",
        algorithm_minor_version="0", changed=changed,
    )  # fmt: skip


def test_a_deploy_that_is_delivered_again_after_it_was_stored_keeps_what_was_known() -> None:
    ledger = ledger_of(DeployRequested(subject="d", source_key="k", path="p.zip"), deployed("d"))
    shelf = ledger.shelf(DEPLOY)
    shelf.stored(shelf.to_store())
    # When the deployer, killed before it could say that it was done, does it once more
    ledger.apply(2, ledger.epoch, [DeployStarted(subject="d"), deployed("d", changed=False)])
    # Then the record still says where it came from
    assert [state.path for state in shelf.to_store()] == ["p.zip"]


def test_a_stored_deploy_is_not_stored_again_and_is_forgotten_after_a_while() -> None:
    clock = Clock()
    ledger = ledger_of(DeployRequested(subject="d", source_key="k", path="p.zip"), deployed("d"), clock=clock)
    shelf = ledger.shelf(DEPLOY)
    shelf.stored(shelf.to_store())
    assert shelf.to_store() == []
    clock.now = LATE
    ledger.forget()
    assert shelf.states == {}


def test_a_repeated_request_of_a_former_scheduler_does_not_bring_it_back() -> None:
    # Given two schedulers, one after the other
    one, two = SchedulerStarted(subject="one"), SchedulerStarted(subject="two")
    epoch, _ = review(Epoch(), [one, two])
    # When both requests are delivered again, as after a crash of the recorder
    again, _ = review(epoch, [one, two])
    # Then the second still decides, under its epoch
    assert again == epoch


def test_the_memory_of_former_schedulers_survives_a_restart() -> None:
    one, two = SchedulerStarted(subject="one"), SchedulerStarted(subject="two")
    ledger = copy_of(ledger_of(one, two))
    assert review(ledger.epoch, [one])[0].instance == "two"


def test_decisions_count_by_the_epoch_that_holds_where_they_stand() -> None:
    first, second = SchedulerStarted(subject="one"), SchedulerStarted(subject="two")
    events = [first, assigned("a", epoch=1), second, completed("a", epoch=1), completed("a", epoch=2)]
    _, good = review(Epoch(), events)
    assert good == [first, events[1], second, events[4]]


RUNS = ["a", "b", "c"]
EVENTS = [event for run in RUNS for event in [*whole(run), RunStopRequested(subject=run)]]
SOME_EVENTS = st.lists(st.sampled_from(EVENTS), max_size=30)


def contents(ledger: Ledger) -> tuple[object, ...]:
    rows = sorted(row.execution_id for row in ledger.rows)
    deploys = ledger.shelf(DEPLOY).states
    return ledger.runs, ledger.ended, rows, set(ledger.settled), ledger.segment, ledger.epoch, deploys


@given(before=SOME_EVENTS, stores=st.integers(0, 3), after=SOME_EVENTS)
def test_a_copy_behaves_like_the_original(before: list[Event], stores: int, after: list[Event]) -> None:
    # Given a ledger after some events, some of whose runs are stored
    ledger = ledger_of(*before)
    ledger.stored(ledger.to_store(stores))
    # When a copy hears what the original hears
    copy = copy_of(ledger)
    for one in (ledger, copy):
        one.apply(2, one.epoch, after)
    # Then both know the same
    assert contents(copy) == contents(ledger)


def test_a_snapshot_is_a_value_of_its_own() -> None:
    ledger = ledger_of(requested("a"))
    snapshot = ledger.snapshot(datetime.now(UTC))
    ledger.apply(2, ledger.epoch, [requested("b")])
    assert [state.run for state in snapshot.runs] == ["a"]


def delete(*runs: str) -> RecordsDeleteRequested:
    return RecordsDeleteRequested(subject="request", runs=list(runs))


def test_a_record_that_is_deleted_leaves_no_row_and_does_not_rise_again() -> None:
    ledger = ledger_of(*whole("a"), *whole("b"))
    store_all(ledger)
    ledger.apply(2, ledger.epoch, [delete("a"), *whole("a")])
    again = copy_of(ledger)
    assert ([row.execution_id for row in again.rows], list(again.runs)) == (["b"], [])
    assert (list(again.deleted), list(again.to_delete)) == (["a"], ["a"])


def test_a_record_that_is_deleted_before_it_is_stored_is_stored_no_more() -> None:
    ledger = ledger_of(*whole("a"))
    states = ledger.to_store(10)
    ledger.apply(2, ledger.epoch, [delete("a")])
    ledger.stored(states)
    assert (ledger.to_store(10), ledger.rows) == ([], [])


def row(run: str, *, age: timedelta = timedelta()) -> ExecutionSummary:
    ledger = ledger_of(*[event.model_copy(update={"time": utc_now() - age}) for event in whole(run)])
    store_all(ledger)
    return ledger.rows[0]


@pytest.mark.parametrize(
    ("deleted", "blocks", "worth_it"),
    [(0, 0, False), (0, 1, False), (1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False), (4, 2, True)],
)
def test_blocks_are_searched_once_a_share_of_their_rows_may_be_deleted(
    monkeypatch: pytest.MonkeyPatch, deleted: int, blocks: int, worth_it: bool
) -> None:
    # Given blocks of twenty rows
    monkeypatch.setattr(ledger_module, "BLOCK", 20)
    clock = Clock()
    runs = [f"r{number}" for number in range(deleted)]
    ledger = ledger_of(delete(*runs), clock=clock)
    ledger.were_deleted(runs)
    ledger.blocks = list(range(blocks))
    # When nothing is said late of those that were deleted any more
    clock.now = LATE
    # Then they are searched for, if they may be one in ten
    assert ledger.to_search_for() == (runs if worth_it else [])


@pytest.mark.parametrize(("after", "removed"), [(LATE / 2, True), (LATE, False)])
def test_what_may_be_said_late_or_lie_in_the_store_is_not_searched_for_yet(after: float, removed: bool) -> None:
    clock = Clock()
    ledger = ledger_of(delete("a"), clock=clock)
    if removed:
        ledger.were_deleted(["a"])
    clock.now = after
    assert ledger.to_search_for() == []


def test_what_is_left_of_a_dissolved_block_is_among_the_rows_also_of_a_copy() -> None:
    ledger = ledger_of(*whole("c"))
    store_all(ledger)
    ledger.block_stored(7, [])
    ledger.dissolve(7, [row("a"), row("b")])
    again = copy_of(ledger)
    assert [one.execution_id for one in again.rows] == ["a", "b", "c"]
    assert (again.blocks, list(again.retired), again.next_block()) == ([], [7], 8)


def test_a_dissolved_block_is_removed_when_nobody_reads_it_any_more() -> None:
    clock = Clock()
    ledger = ledger_of(clock=clock)
    ledger.block_stored(7, [])
    ledger.dissolve(7, [])
    assert ledger.to_remove() == []
    clock.now = LATE
    assert ledger.to_remove() == [7]


def test_what_was_searched_for_is_forgotten() -> None:
    ledger = ledger_of(delete("a", "b"))
    ledger.searched_for(["a"])
    assert list(ledger.deleted) == ["b"]


def test_a_row_that_is_deleted_while_its_block_is_written_takes_no_other_with_it() -> None:
    # Given a block under way
    ledger = ledger_of(*whole("a"), *whole("b"), *whole("c"))
    store_all(ledger)
    block = ledger.rows[:2]
    # When one of its rows is deleted before it has been written
    ledger.apply(2, ledger.epoch, [delete("a")])
    ledger.block_stored(0, block)
    # Then what was not in it is still there
    assert [one.execution_id for one in ledger.rows] == ["c"]


@pytest.mark.parametrize(
    ("deleted", "expired", "left"),
    [
        (set(), None, ["old", "new"]),
        ({"new"}, None, ["old"]),
        (set(), timedelta(days=1), ["new"]),
        ({"new"}, timedelta(days=1), []),
        (set(), timedelta(days=3), ["old", "new"]),
    ],
)
def test_only_living_rows_are_kept(deleted: set[str], expired: timedelta | None, left: list[str]) -> None:
    rows = [row("old", age=timedelta(days=2)), row("new")]
    before = utc_now() - expired if expired is not None else None
    assert [one.execution_id for one in living(rows, before, deleted)] == left


def test_rows_of_expired_runs_are_forgotten() -> None:
    ledger = ledger_of()
    ledger.rows = [row("old", age=timedelta(days=2)), row("new")]
    ledger.forget(utc_now() - timedelta(days=1))
    assert [one.execution_id for one in ledger.rows] == ["new"]


def test_what_has_not_ended_is_not_deleted() -> None:
    ledger = ledger_of(requested("a"), delete("a"))
    assert (list(ledger.runs), list(ledger.deleted)) == (["a"], [])


@pytest.mark.parametrize(
    ("ages", "lags"),
    [
        ([[timedelta(0)]], timedelta(0)),
        ([[timedelta(minutes=9), timedelta(minutes=5)]], timedelta(minutes=9)),
        ([[timedelta(minutes=9)], [timedelta(minutes=5)]], timedelta(minutes=5)),
        ([[timedelta(minutes=9)], []], timedelta(minutes=9)),
        ([[timedelta(hours=-1)]], timedelta(0)),
    ],
    ids=["now", "a batch heard late", "the last segment counts", "nothing that counts", "a clock that is ahead"],
)
def test_a_snapshot_is_no_younger_than_what_was_heard_last(ages: list[list[timedelta]], lags: timedelta) -> None:
    ledger, now = Ledger(clock=Clock()), utc_now()
    for number, batch in enumerate(ages, start=1):
        ledger.apply(
            number, ledger.epoch, [requested(f"{number}").model_copy(update={"time": now - age}) for age in batch]
        )
    assert now - copy_of(ledger).snapshot(now).time == lags
