"""What a run's code gets, in the form of today and in that of earlier versions."""

from __future__ import annotations

from messages.runs import Work
from shared.records.fold import RunState
from tests.named import A
from tests.unit.memory_platform import WORK

TODAY = WORK.model_copy(update={"parameters": {"a": 1, "b": 2}, "filled": {"b": 2.0, "c": 3}, "args": None})
BEFORE = WORK.model_copy(update={"parameters": {"a": 1}, "filled": {}, "args": {"a": 1, "c": 3}})


def test_what_was_filled_in_goes_over_what_was_sent() -> None:
    assert repr(TODAY.arguments) == "{'a': 1, 'b': 2.0, 'c': 3}"


def test_parameters_travel_once() -> None:
    assert set(TODAY.model_dump()) & {"parameters", "filled", "args"} == {"parameters", "filled"}
    assert "filled" not in TODAY.model_copy(update={"filled": {}}).model_dump()


def test_a_record_of_an_earlier_version_keeps_what_its_code_got() -> None:
    stored = RunState(run=A, work=BEFORE).model_dump_json()

    read = RunState.model_validate_json(stored)

    assert read.work is not None
    assert (read.work.arguments, "filled" in stored) == ({"a": 1, "c": 3}, False)
    assert Work.model_validate_json(read.work.model_dump_json()) == BEFORE
