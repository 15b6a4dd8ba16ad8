"""Waits that double with each failure in a row."""

from __future__ import annotations

_MOST_DOUBLINGS = 16


class Backoff:
    """Seconds to wait before the next try: `first`, then twice as long each time, `longest` at most."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def next(self) -> float:
        doublings = min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        return min(self._longest, self._first * 2.0**doublings)

    def reset(self) -> None:
        """It has worked."""
        self._failures = 0
