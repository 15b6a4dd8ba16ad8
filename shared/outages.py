"""What the log says while something that we stand on is away: a line at once, one a minute, one when it is over.

Whoever reaches for it (an adapter) tells of each try through an `Outage`. Whoever just has to wait for it marks its own
line with `waiting`: such a line goes to the log (shared/telemetry.py) only if nothing else was said of the same outage.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

from voxloom.errors import BusUnavailable, StoreUnavailable, Unavailable

QUIET_SECS = 60.0
"""Between two lines about one outage."""
OWN_QUIET_SECS = 90.0
"""The same for lines of those who wait: longer, so that the outage's own lines come first."""


class Outage:
    """Several may try, each under a name of its own; it is over when all of them have got through."""

    def __init__(
        self,
        log: logging.Logger,
        down: str,
        up: str,
        kind: type[Unavailable] = Unavailable,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`down` and `up` begin its lines, as in "the broker cannot be used" and "the broker can be used again"."""
        self._log = log
        self._down = down
        self._up = up
        self._extra = {"about": topic_of(kind)}
        self._clock = clock
        self._tries: Counter[str] = Counter()
        self._away: set[str] = set()
        self._since = 0.0
        self._said: float | None = None
        self._told = False

    def failed(self, why: object, who: str = "") -> None:
        """A try was in vain."""
        now = self._clock()
        if not self._away:
            self._since, self._told = now, False
            self._tries.clear()
        self._away.add(who)
        self._tries[who] += 1
        if self._said is not None and now - self._said < QUIET_SECS:
            return
        so_far = f", for {self._lasted(now)} by now" if self._told else ""
        self._log.warning("%s%s: %s", self._down, so_far, why, extra=self._extra)
        self._said, self._told = now, True

    def over(self, who: str = "") -> None:
        """It was reached."""
        if who not in self._away:
            return
        self._away.discard(who)
        if not self._away and self._told:
            self._log.info("%s, after %s", self._up, self._lasted(self._clock()), extra=self._extra)

    def _lasted(self, now: float) -> str:
        tries = max(self._tries.values())
        return f"{_spelt(now - self._since)} ({tries} {'try' if tries == 1 else 'tries'})"


def topic_of(kind: type[BaseException]) -> str:
    """What an error tells of; empty where it may be anything."""
    if issubclass(kind, BusUnavailable):
        return "broker"
    return "store" if issubclass(kind, StoreUnavailable) else ""


def waiting(error: BaseException) -> Mapping[str, str]:
    """`extra` for the line of somebody who waits because of `error`."""
    return {"waits_for": topic_of(type(error))}


class Seldom(logging.Filter):
    """Passes lines of those who wait only where nothing was said of the same outage for a while. Where an error does
    not tell which outage it is, lines of the same wording count as about the same."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        topic = getattr(record, "about", None)
        waits_for = getattr(record, "waits_for", None)
        if topic is None and waits_for is None:
            return True
        key, now = topic or waits_for or str(record.msg), self._clock()
        if topic is None and now - self._said.get(key, -OWN_QUIET_SECS) < OWN_QUIET_SECS:
            return False
        self._said[key] = now
        return True


def _spelt(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
