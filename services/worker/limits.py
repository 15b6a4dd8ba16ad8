"""What an attempt may take: its wall-clock time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voxloom.limits import narrower
from voxloom.models import RunError

LIMIT_EXCEEDED = "limit_exceeded"
WALL_TIME = "wall_time"
"""That of the project."""


class WallTime:
    """Calls `on_over` once, when the time is over. `limits`: seconds, of which the narrowest counts; None: it never is.
    `project`: that of the project, which is named where it is the one."""

    def __init__(self, *limits: float | None, project: float | None, on_over: Callable[[], None]) -> None:
        self.over = False
        self._limit = narrower(*limits, project)
        self._is_projects = self._limit is not None and self._limit == project
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
        if not self.over or self._limit is None:
            return None
        return project_wall_time_exceeded(self._limit) if self._is_projects else wall_time_exceeded(self._limit)

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


def project_wall_time_exceeded(limit: float) -> RunError:
    return RunError(
        type="LimitExceeded",
        message=f"The run took longer than max_wall_time of its project allows ({limit:g} s) and was stopped. "
        "`voxloom admin limits PROJECT` shows the limits; an admin can change them.",
        code=WALL_TIME,
    )
