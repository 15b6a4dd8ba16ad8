"""How often somebody looks who waits for something."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST = 0.2
"""Seconds."""


def pauses(first: float = 0.01, longest: float = LONGEST) -> Iterator[float]:
    """Seconds between two looks, without end. What is soon there is found soon; who has waited for long looks seldom,
    since looking takes the processor from what is waited for."""
    pause = first
    while True:
        yield pause
        pause = min(longest, pause * 1.3)
