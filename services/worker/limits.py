"""What an attempt may take: its wall-clock time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voxloom.models import RunError

LIMIT_EXCEEDED = "limit_exceeded"


class WallTime:
    """Calls `on_over` once, when the time is over. `limit`: seconds; None: it never is."""

    def __init__(self, limit: float | None, on_over: Callable[[], None]) -> None:
        self.over = False
        self._limit = limit
        self._on_over = on_over
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        if self._limit is not None:
            self._timer = asyncio.get_running_loop().call_later(self._limit, self._end)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def error(self) -> RunError | None:
        """Why the run has failed; None as long as it kept to its limit."""
        return wall_time_exceeded(self._limit) if self.over and self._limit is not None else None

    def _end(self) -> None:
        self.over = True
        self._on_over()


def wall_time_exceeded(limit: float) -> RunError:
    return RunError(
        type="LimitExceeded",
        message=f"The run took longer than wall_time allows ({limit:g} s) and was stopped. The limit is the narrower "
        "one of the algorithm's [tool.voxloom.limits] and the server's setting max_wall_time.",
        code=LIMIT_EXCEEDED,
    )
