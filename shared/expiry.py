"""The clock that expiry goes by. A machine's clock can be wrong by years, and what has expired is gone for good. So
this one runs on by itself while a process lives, and a start moves it by a day at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

DAY = 86_400.0
APART_SECS = DAY / 24
"""What this clock and the one on the wall may differ by before anybody is told."""


def begun_at(kept: float | None, newest: float | None, wall: float) -> float:
    """What a clock shows at a start, in seconds since 1970. `kept`: what it showed at last. `newest`: when the newest
    of what may expire was made; it counts where there was no such clock before."""
    last = kept if kept is not None else newest
    return wall if last is None else max(last, min(wall, last + DAY))


class ExpiryClock:
    """In seconds since 1970."""

    def __init__(self, start: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._start = start
        self._monotonic = monotonic
        self._begun = monotonic()

    def now(self) -> float:
        return self._start + self._monotonic() - self._begun

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)
