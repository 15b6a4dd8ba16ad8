"""Records as JSON, and which of them are kept."""

from __future__ import annotations

from typing import Any

import pytest

from messages.runs import Result, RunAssigned, RunCompleted, RunRequested
from services.gateway.views import rest
from services.gateway.views.rest import ShownRecords
from shared.records import view
from shared.records.fold import RunState, fold
from shared.records.view import Heard
from tests.named import A, B
from tests.unit.memory_platform import WORK


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of which a record was made."""
    runs: list[str] = []

    def note(state: RunState, heard: Heard) -> Any:
        runs.append(state.run)
        return view.execution_record(state, heard)

    monkeypatch.setattr(rest, "execution_record", note)
    return runs


def asked(run: str = A, **parameters: Any) -> RunState:
    return fold(None, RunRequested(subject=run, work=WORK.model_copy(update={"parameters": parameters})))


def ended(run: str = A, **parameters: Any) -> RunState:
    return fold(asked(run, **parameters), RunCompleted(subject=run, attempt=1, epoch=1, result=Result(log="done")))


def test_the_record_of_an_ended_run_is_made_once(made: list[str]) -> None:
    shown, state = ShownRecords(), ended()
    first = shown.json(state, Heard("done"))
    assert (shown.json(state, Heard("done")), made) == (first, [A])


def test_each_way_of_showing_it_is_made_by_itself(made: list[str]) -> None:
    shown, state = ShownRecords(), ended()
    assert shown.json(state, Heard("done")) != shown.json(state, Heard("done"), as_v0=True)
    assert made == [A, A]


def test_what_has_changed_is_made_anew(made: list[str]) -> None:
    shown = ShownRecords()
    shown.json(ended(step=1), Heard("done"))
    assert b'"step":2' in shown.json(ended(step=2), Heard("done"))
    assert b'"log":"more"' in shown.json(ended(step=2), Heard("more"))


def test_a_small_record_of_a_run_that_goes_on_is_made_each_time(made: list[str]) -> None:
    shown = ShownRecords()
    state = fold(
        asked(),
        RunAssigned(subject=A, attempt=1, epoch=1, worker_id="w", incarnation="w", device_class="cpu"),
    )
    shown.json(state, Heard())
    shown.json(state, Heard())
    assert made == [A, A]


def test_no_more_is_kept_than_there_is_room_for(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for about three records
    shown, states = ShownRecords(), [ended(A, number=number) for number in range(10)]
    size = len(shown.json(ended(B), Heard("done")))
    monkeypatch.setattr(rest, "MOST_BYTES", 3 * size)
    runs = [state.model_copy(update={"run": f"{A[:-1]}{number}"}) for number, state in enumerate(states)]
    # When ten are asked for, and the oldest and the newest again
    for state in [*runs, runs[0], runs[-1]]:
        shown.json(state, Heard("done"))
    # Then the oldest was made anew, and the newest was not
    assert made[11:] == [runs[0].run]
