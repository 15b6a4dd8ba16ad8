"""Which runs are kept, in memory: whoever reads a record is told, and that must not cost a look into the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from messages.base import Event
from messages.records import RecordsKept
from shared.keeping import RUNS, notes
from shared.objects.base import ObjectStore

READ_SECS = 600.0
"""How long what was read is good: what a gateway that died has not told is found after that."""


class KeptRuns:
    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._runs: set[str] = set()
        self._told: dict[str, bool] = {}
        """What was heard since the last reading began: it counts for more than what was read."""
        self._good_until = float("-inf")
        self._reading = asyncio.Lock()

    def hear(self, event: Event) -> None:
        if isinstance(event, RecordsKept) and not event.spared:  # whoever keeps those has said so
            for run in event.runs:
                self._told[run] = event.kept
                self._place(run, kept=event.kept)

    async def has(self, run: str) -> bool:
        """Raises StoreUnavailable."""
        if self._clock() >= self._good_until:
            async with self._reading:
                if self._clock() >= self._good_until:
                    await self._read()
        return run in self._runs

    async def _read(self) -> None:
        good_until = self._clock() + READ_SECS
        self._told.clear()
        self._runs = {run async for run, note in notes(self._store, RUNS) if note.kept}
        for run, kept in self._told.items():
            self._place(run, kept=kept)
        self._good_until = good_until

    def _place(self, run: str, *, kept: bool) -> None:
        if kept:
            self._runs.add(run)
        else:
            self._runs.discard(run)
