"""Why runs wait, and how many come first."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from messages.runs import (
    AlgorithmPin,
    Result,
    RunAssigned,
    RunCompleted,
    RunRequested,
    RunRequeued,
    Work,
)
from services.gateway.views.queue_positions import Offers, WaitingLines
from shared.records.fold import RunState, fold
from voxloom.models import utc_now

NOW = utc_now()
PIN = AlgorithmPin(algorithm_id="a", name="A", major="1", minor="0", module="m", assets="s")
ONE_SLOT = Offers({"cpu": 1}, ())


def later(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Story:
    """Runs `0`, `1`, … are asked for one after the other."""

    def __init__(self) -> None:
        self.lines = WaitingLines()
        self.states: dict[str, RunState] = {}

    def ask(self, *devices: str, priority: int = 0, project: str = "default") -> str:
        run = str(len(self.states))
        work = Work(
            algorithm=PIN,
            input_dataset_ids=[],
            parameters={},
            args={},
            devices=list(devices) or ["cpu"],
            session_token="",
            priority=priority,
        )
        asked = RunRequested(subject=run, project=project, time=later(len(self.states)), work=work)
        self._note(fold(None, asked))
        return run

    def assign(self, run: str, device_class: str = "cpu") -> None:
        state = self.states[run]
        assert state.work is not None
        facts = {"subject": run, "project": state.project, "attempt": state.attempt + 1, "epoch": 1}
        assigned = RunAssigned(**facts, worker_id="w", incarnation="i", device_class=device_class, work=state.work)
        self._note(fold(state, assigned))

    def give_back(self, run: str) -> None:
        state = self.states[run]
        facts = {"subject": run, "project": state.project, "attempt": state.attempt, "epoch": 1}
        self._note(fold(state, RunRequeued(**facts, incarnation="i", lost=0, reason="")))

    def complete(self, run: str) -> None:
        state = self.states[run]
        facts = {"subject": run, "project": state.project, "attempt": state.attempt, "epoch": 1}
        self._note(fold(state, RunCompleted(**facts, result=Result())))

    def _note(self, state: RunState) -> None:
        self.states[state.run] = state
        self.lines.note(state)

    def why(self, run: str, offers: Offers = ONE_SLOT, at_once: int | None = None) -> tuple[str, int] | None:
        waiting = self.lines.why(run, offers, at_once)
        return None if waiting is None else (waiting.reason, waiting.ahead)


def test_those_come_first_that_were_asked_for_earlier_or_matter_more() -> None:
    story = Story()
    busy, first, second, urgent = story.ask(), story.ask(), story.ask(), story.ask(priority=5)
    story.assign(busy)
    assert [story.why(run) for run in (busy, urgent, first, second)] == [
        None,
        ("others_first", 0),
        ("others_first", 1),
        ("others_first", 2),
    ]


def test_a_run_for_which_there_is_a_slot_is_about_to_start() -> None:
    story = Story()
    runs = [story.ask() for _ in range(3)]
    offers = Offers({"cpu": 2}, ())
    assert [story.why(run, offers) for run in runs] == [("starting", 0), ("starting", 1), ("others_first", 2)]


@pytest.mark.parametrize(
    ("offers", "reason"),
    [
        (Offers({}, ()), "no_device"),
        (Offers({"cpu": 4}, ()), "no_device"),
        (Offers({"cpu": 4}, {"gpu"}), "worker_away"),
        (Offers({"gpu": 1}, ()), "starting"),
    ],
)
def test_a_run_waits_for_a_device_that_nobody_has_or_that_is_away(offers: Offers, reason: str) -> None:
    story = Story()
    assert story.why(story.ask("gpu"), offers) == (reason, 0)


def test_who_falls_back_waits_in_the_line_of_the_processor() -> None:
    # Given one that wants a card, or else the processor, behind one that wants the processor
    story = Story()
    story.ask("cpu")
    run = story.ask("gpu", "cpu")
    # Then the other one is ahead where there is no card, and nobody where there is one
    assert story.lines.why(run, Offers({"cpu": 1}, ())).ahead == 1  # type: ignore[union-attr]
    assert story.lines.why(run, Offers({"cpu": 1, "gpu": 1}, ())).ahead == 0  # type: ignore[union-attr]


def test_how_much_another_project_has_waiting_is_not_told() -> None:
    # Given a project with two runs under way and three waiting, and another with ten waiting
    story = Story()
    for _ in range(2):
        story.assign(story.ask(project="mine"))
    for _ in range(10):
        story.ask(project="other")
    mine = [story.ask(project="mine") for _ in range(3)]
    # Then those of the own project are counted
    assert [story.why(run) for run in mine] == [("others_first", 0), ("others_first", 1), ("others_first", 2)]


def test_what_was_given_back_waits_again_in_its_old_place_and_what_has_ended_does_not() -> None:
    story = Story()
    first, second = story.ask(), story.ask()
    story.assign(first)
    story.give_back(first)
    assert story.why(second, Offers({"cpu": 1}, ())) == ("others_first", 1)
    story.assign(first)
    story.complete(first)
    assert (story.why(first), story.why(second)) == (None, ("starting", 0))


@pytest.mark.parametrize(
    ("slots", "at_once", "reasons"),
    [
        (8, 1, ["project_limit", "project_limit", "project_limit"]),
        (8, 2, ["starting", "project_limit", "project_limit"]),
        (8, 4, ["starting", "starting", "starting"]),
        (2, 4, ["starting", "others_first", "others_first"]),
        (1, 2, ["others_first", "others_first", "others_first"]),
        (1, 1, ["project_limit", "project_limit", "project_limit"]),
        (0, 1, ["no_device", "no_device", "no_device"]),
    ],
)
def test_a_run_waits_for_others_of_its_project_where_its_limit_is_what_holds_it_back(
    slots: int, at_once: int, reasons: list[str]
) -> None:
    # Given a project with one run under way and three waiting, and runs of another one
    story = Story()
    story.assign(story.ask(project="mine"))
    mine = [story.ask(project="mine") for _ in range(3)]
    story.ask(project="other")
    # Then each of them says what it waits for
    offers = Offers({"cpu": slots} if slots else {}, ())
    assert [(story.why(run, offers, at_once) or ("", 0))[0] for run in mine] == reasons


def test_what_a_project_has_waiting_and_under_way_is_counted() -> None:
    story = Story()
    first, second = story.ask(project="mine"), story.ask(project="mine")
    story.ask(project="other")
    story.assign(first)
    assert (story.lines.held_of("mine"), story.lines.waiting_of("mine")) == (1, 1)
    story.give_back(first)
    assert (story.lines.held_of("mine"), story.lines.waiting_of("mine")) == (0, 2)
    for run in (first, second):
        story.assign(run)
        story.complete(run)
    assert (story.lines.held_of("mine"), story.lines.waiting_of("mine"), story.lines.waiting_of("other")) == (0, 0, 1)
