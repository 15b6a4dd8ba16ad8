"""Threads of this process: which of them a run has left."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

GRACE_SECS = 0.1
"""A thread that is about to end may take so long; one that was asked to, longer."""
ASKED_SECS = 1.0
_PAUSE = 0.001


class Threads(NamedTuple):
    """Those of a moment. `raw` have been started without the module threading, and have no name."""

    known: frozenset[threading.Thread]
    raw: int


def now() -> Threads:
    known = frozenset(one for one in threading.enumerate() if not isinstance(one, threading._DummyThread))
    return Threads(known, max(0, _thread._count() + 1 - len(known)))  # `_count` leaves out the main thread


def left_since(before: Threads) -> list[str]:
    """What to call the threads that were not there before. Python's own threads, not those of compiled libraries."""
    there = now()
    named = [f"the thread {one.name[:80]!r}" for one in there.known - before.known]
    raw = there.raw - before.raw
    return sorted(named) + ([f"{raw} of _thread.start_new_thread"] if raw > 0 else [])


def end_new(before: Threads, ask_to_end: Callable[[threading.Thread], bool]) -> list[str]:
    """Asks those that were not there before to end, where it is known how, and waits a moment for all. What is left."""
    asked = [one for one in now().known - before.known if ask_to_end(one)]
    deadline = time.monotonic() + (ASKED_SECS if asked else GRACE_SECS)
    while (left := left_since(before)) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return left
