"""Ended runs that are kept at hand: so many, and so many bytes of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic_core import to_json

from shared.records.fold import RunState

MOST_RUNS = 10_000
MOST_BYTES = 64 << 20
"""Of parameters, ids and logs, as JSON."""
LEAST_SECS = 60.0
"""How long a run stays in any case: its record may not be in the store before."""


class _Entry(NamedTuple):
    weight: int
    until: float


class EndedRuns:
    """Which of them to keep: the newest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._weight = 0

    def put(self, state: RunState) -> list[str]:
        """Notes a run; the ids of those to let go of now."""
        self._forget(state.run)
        entry = _Entry(weight_of(state), self._clock() + LEAST_SECS)
        self._entries[state.run] = entry
        self._weight += entry.weight
        return self.excess()

    def excess(self) -> list[str]:
        return list(self._excess())

    def _excess(self) -> Iterator[str]:
        now = self._clock()
        while self._entries:
            run, entry = next(iter(self._entries.items()))
            too_heavy = self._weight > MOST_BYTES and entry.until <= now
            if not too_heavy and len(self._entries) <= MOST_RUNS:
                return
            self._forget(run)
            yield run

    def _forget(self, run: str) -> None:
        entry = self._entries.pop(run, None)
        if entry is not None:
            self._weight -= entry.weight


def weight_of(state: RunState) -> int:
    """About how many bytes of JSON a run is."""
    weight = 1000
    if state.work is not None:
        weight += len(to_json(state.work.parameters)) + 40 * len(state.work.input_dataset_ids)
    if state.stage is not None and state.stage.result is not None:
        weight += len(state.stage.result.log)
    return weight
