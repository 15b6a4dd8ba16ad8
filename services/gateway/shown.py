"""Records of executions as JSON. A large one is made once for all who ask for it at the same time."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from shared.records.fold import RunState
from shared.records.view import execution_record

LARGE = 64 << 10
KEPT = 2


class _Shown(NamedTuple):
    state: RunState
    log: str
    progress: float
    json: bytes


class ShownRecords:
    """Parameters can make a record megabytes large, and hundreds may watch a run: all of them get the same bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bool], _Shown] = OrderedDict()

    def json(self, state: RunState, *, log: str, progress: float) -> bytes:
        key = (state.run, bool(log))
        kept = self._kept.get(key)
        if kept is not None and kept.state is state and kept.progress == progress and kept.log == log:
            return kept.json
        record = execution_record(state, log=log, progress=progress)
        json = record.__pydantic_serializer__.to_json(record)
        if len(json) >= LARGE:
            self._keep(key, _Shown(state, log, progress, json))
        return json

    def _keep(self, key: tuple[str, bool], shown: _Shown) -> None:
        self._kept[key] = shown
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
