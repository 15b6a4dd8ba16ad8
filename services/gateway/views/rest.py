"""Records of runs as JSON, made once for all who ask for them at the same time, and of ended runs again and again."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from shared.records.fold import RunState
from shared.records.view import Heard, benchmark_record, execution_record, training_record
from voxloom.models import BenchmarkRecord, ExecutionRecord, TrainingRecord

LARGE = 64 << 10
MOST_BYTES = 8 << 20
"""Of JSON that is kept."""
KEPT = 2
"""These are kept, however large."""


NOT_IN_V0 = {"kept", "expires_at"}
"""Fields that clients of Compox do not know."""


class _Shown(NamedTuple):
    state: RunState
    heard: Heard
    json: bytes


class ShownRecords:
    """Parameters can make a record megabytes large, and hundreds may watch a run: all of them get the same bytes. A
    record of an ended run changes no more, and costs more to make than all else of its answer."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bool, bool], _Shown] = OrderedDict()
        self._bytes = 0

    def json(self, state: RunState, heard: Heard, *, as_v0: bool = False) -> bytes:
        """The record of a run whose request is known, of whichever task. `as_v0`: as clients of Compox expect it."""
        key = (state.run, bool(heard.log), as_v0)
        kept = self._kept.get(key)
        if kept is not None and kept.state is state and kept.heard == heard:
            return kept.json
        record = _record(state, heard)
        shown = as_in_v0(record) if as_v0 else record
        json = shown.__pydantic_serializer__.to_json(shown, exclude=NOT_IN_V0 if as_v0 else None)
        if len(json) >= LARGE or state.ended:
            self._keep(key, _Shown(state, heard, json))
        return json

    def _keep(self, key: tuple[str, bool, bool], shown: _Shown) -> None:
        """In place of those that were made longest ago."""
        known = self._kept.pop(key, None)
        self._kept[key] = shown
        self._bytes += len(shown.json) - (len(known.json) if known is not None else 0)
        while self._bytes > MOST_BYTES and len(self._kept) > KEPT:
            self._bytes -= len(self._kept.popitem(last=False)[1].json)


Record = ExecutionRecord | TrainingRecord | BenchmarkRecord


def as_in_v0(record: Record) -> Record:
    """There a run has started when it was submitted, waits without a word, and is nobody's."""
    return record.model_copy(update={"time_started": record.time_submitted, "waiting": None, "submitted_by": None})


def _record(state: RunState, heard: Heard) -> Record:
    assert state.work is not None
    match state.work.task:
        case "execution":
            return execution_record(state, heard)
        case "training":
            return training_record(state, heard)
        case "benchmark":
            return benchmark_record(state, heard)
