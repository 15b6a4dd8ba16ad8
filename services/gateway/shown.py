"""Records of runs as JSON. A large one is made once for all who ask for it at the same time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from shared.records.fold import RunState
from shared.records.view import benchmark_record, execution_record, training_record
from voxloom.models import BenchmarkRecord, ExecutionRecord, TrainingRecord

LARGE = 64 << 10
KEPT = 2
NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Shown(NamedTuple):
    state: RunState
    log: str
    progress: float
    told: Mapping[str, Any]
    json: bytes


class ShownRecords:
    """Parameters can make a record megabytes large, and hundreds may watch a run: all of them get the same bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bool], _Shown] = OrderedDict()

    def json(self, state: RunState, *, log: str, progress: float, told: Mapping[str, Any] = NOTHING) -> bytes:
        """The record of a run whose request is known, of whichever task."""
        key = (state.run, bool(log))
        kept = self._kept.get(key)
        if kept is not None and kept.state is state and kept[1:4] == (log, progress, told):
            return kept.json
        record = _record(state, log, progress, told)
        json = record.__pydantic_serializer__.to_json(record)
        if len(json) >= LARGE:
            self._keep(key, _Shown(state, log, progress, told, json))
        return json

    def _keep(self, key: tuple[str, bool], shown: _Shown) -> None:
        self._kept[key] = shown
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _record(
    state: RunState, log: str, progress: float, told: Mapping[str, Any]
) -> ExecutionRecord | TrainingRecord | BenchmarkRecord:
    assert state.work is not None
    match state.work.task:
        case "execution":
            return execution_record(state, log=log, progress=progress)
        case "training":
            return training_record(state, log=log, progress=progress, told=dict(told))
        case "benchmark":
            return benchmark_record(state, log=log, progress=progress)
