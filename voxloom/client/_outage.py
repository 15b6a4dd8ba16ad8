"""How long a watcher puts up with a server that has gone away."""

from __future__ import annotations

import time

from voxloom.backoff import Backoff
from voxloom.errors import Unavailable

LONGEST_SECS = 60.0
_FIRST_DELAY_SECS = 0.1
_LONGEST_DELAY_SECS = 5.0


class Outage:
    """Delays that grow while there is no news, until nothing was heard for too long.

    A server that never answered at all is not waited for.
    """

    def __init__(self, longest: float = LONGEST_SECS) -> None:
        self._longest = longest
        self._heard: float | None = None
        self._backoff = Backoff(_FIRST_DELAY_SECS, _LONGEST_DELAY_SECS)

    def heard(self) -> None:
        """The server said something, if only that it is alive."""
        self._heard = time.monotonic()

    def news(self) -> None:
        self._backoff.reset()

    def delay(self, error: Unavailable) -> float:
        """Seconds to wait before the next try. Raises `error` when it is no use any more."""
        if self._heard is None or time.monotonic() - self._heard > self._longest:
            raise error
        return self._backoff.next()
