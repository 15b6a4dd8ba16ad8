"""Runs whose records were deleted, for as long as one may still come upon them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from shared.records.ledger import SETTLED_SECS


class DeletedRuns:
    """They are remembered until the store holds nothing of them any more, and then for a while: what is said late of
    them must start nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stored: set[str] = set()
        self._gone: dict[str, float] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._stored or run in self._gone

    def __len__(self) -> int:
        return len(self._stored) + len(self._gone)

    def add(self, runs: Iterable[str]) -> None:
        """Something of these may be in the store."""
        for run in runs:
            self._gone.pop(run, None)
            self._stored.add(run)

    def forget(self, run: str) -> None:
        """It was not deleted after all."""
        self._stored.discard(run)
        self._gone.pop(run, None)

    def removed(self, runs: Iterable[str]) -> None:
        """Nothing of these is in the store any more."""
        now = self._clock()
        for run in self._stored.intersection(runs):
            self._stored.discard(run)
            self._gone[run] = now

    def trim(self) -> None:
        limit = self._clock() - SETTLED_SECS
        self._gone = {run: since for run, since in self._gone.items() if since > limit}
