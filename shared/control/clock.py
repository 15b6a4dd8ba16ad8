"""What time it is for tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


def awake_or_not() -> float:
    """Seconds that have gone by, those in which the machine was suspended, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class NeverBack:
    """The clock on the wall, and never behind what has gone by since the start: a token that has expired stays so when
    somebody sets the clock back. One that was far ahead is followed back once it is right again."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = awake_or_not) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._start, self._begun = wall(), monotonic()

    def moment(self) -> datetime:
        passed = self._start + self._monotonic() - self._begun
        return datetime.fromtimestamp(max(self._wall(), passed), UTC)
