"""Records of runs as JSON. A large one is made once for all who ask for it at the same time."""

from __future__ import annotations

from typing import NamedTuple

from shared.newest import Newest
from shared.records.fold import RunState
from shared.records.view import Heard, benchmark_record, execution_record, training_record
from voxloom.models import BenchmarkRecord, ExecutionRecord, TrainingRecord

LARGE = 64 << 10
KEPT = 2


class _Shown(NamedTuple):
    state: RunState
    heard: Heard
    json: bytes


class ShownRecords:
    """Parameters can make a record megabytes large, and hundreds may watch a run: all of them get the same bytes."""

    def __init__(self) -> None:
        self._kept: Newest[tuple[str, bool, bool], _Shown] = Newest(KEPT)

    def json(self, state: RunState, heard: Heard, *, as_v0: bool = False) -> bytes:
        """The record of a run whose request is known, of whichever task. `as_v0`: as clients of Compox expect it."""
        key = (state.run, bool(heard.log), as_v0)
        kept = self._kept.get(key)
        if kept is not None and kept.state is state and kept.heard == heard:
            return kept.json
        record = _record(state, heard)
        shown = as_in_v0(record) if as_v0 else record
        json = shown.__pydantic_serializer__.to_json(shown)
        if len(json) >= LARGE:
            self._kept[key] = _Shown(state, heard, json)
        return json


Record = ExecutionRecord | TrainingRecord | BenchmarkRecord


def as_in_v0(record: Record) -> Record:
    """There a run has started when it was submitted, and waits without a word."""
    return record.model_copy(update={"time_started": record.time_submitted, "waiting": None})


def _record(state: RunState, heard: Heard) -> Record:
    assert state.work is not None
    match state.work.task:
        case "execution":
            return execution_record(state, heard)
        case "training":
            return training_record(state, heard)
        case "benchmark":
            return benchmark_record(state, heard)
