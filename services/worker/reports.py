"""What a worker has reported of its attempts: said again until the scheduler has settled it, and remembered then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import isfinite

from pydantic import ValidationError

from messages.base import Event
from messages.runs import Result, RunFinished
from shared.bus.limits import check_first
from shared.bus.outbox import Outbox, unsayable
from voxloom.errors import InvalidInput, VoxloomError

REPEAT_SECS = 10.0
"""A report that nobody has settled is said again after so long."""
GIVE_UP_SECS = 600.0
"""Nor is it ever settled after so long: the scheduler knows nothing of it."""
REMEMBER_SECS = 600.0
"""An assignment of an attempt that has been settled may come again for so long."""


@dataclass
class _Report:
    finished: RunFinished
    since: float
    repeat_at: float


class Reports:
    """Times are monotonic seconds, passed in."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._open: dict[str, _Report] = {}
        self._settled: dict[str, tuple[int, float]] = {}
        """Run → the newest attempt that was settled, and when. The oldest first."""
        self._none_open = asyncio.Event()
        self._none_open.set()

    def add(self, finished: RunFinished, now: float) -> None:
        finished = sayable(finished)
        self._open[finished.subject] = _Report(finished, since=now, repeat_at=now + REPEAT_SECS)
        self._none_open.clear()
        self._outbox.put(finished)

    def project_of(self, run: str) -> str | None:
        """None where nothing is open of that run."""
        report = self._open.get(run)
        return None if report is None else report.finished.project

    def is_open(self, run: str) -> bool:
        return run in self._open

    def knows(self, run: str, attempt: int) -> bool:
        """Whether this attempt, or a later one, has been reported or settled."""
        report = self._open.get(run)
        settled, _ = self._settled.get(run, (-1, 0.0))
        return settled >= attempt or (report is not None and report.finished.attempt >= attempt)

    def settle(self, run: str, attempt: int, now: float) -> None:
        """The scheduler has decided about an attempt, whether or not it was reported."""
        report = self._open.get(run)
        if report is not None and report.finished.attempt <= attempt:
            self._close(run)
        newest = max(attempt, self._settled.pop(run, (attempt, 0.0))[0])
        self._settled[run] = (newest, now)

    def holding(self) -> list[tuple[str, int]]:
        return [(run, report.finished.attempt) for run, report in self._open.items()]

    def repeat(self, now: float) -> None:
        """To be called now and then. Nothing grows old while the bus does not take what there is to say."""
        if len(self._outbox):
            for report in self._open.values():
                report.since, report.repeat_at = now, now + REPEAT_SECS
            return
        for run, report in list(self._open.items()):
            if now - report.since > GIVE_UP_SECS:
                self._close(run)
            elif report.repeat_at < now:
                report.repeat_at = now + REPEAT_SECS
                self._outbox.put(report.finished)
        self._forget(now - REMEMBER_SECS)

    def clear(self) -> None:
        """Nobody wants to hear of any of them any more."""
        for run in list(self._open):
            self._close(run)

    async def all_settled(self) -> None:
        await self._none_open.wait()

    def _close(self, run: str) -> None:
        del self._open[run]
        if not self._open:
            self._none_open.set()

    def _forget(self, before: float) -> None:
        while self._settled and self._settled[first := next(iter(self._settled))][1] <= before:
            del self._settled[first]


def sayable(finished: RunFinished) -> RunFinished:
    """The report itself, or that the run has failed: what the scheduler says of its end is to fit, too."""
    try:
        check_first(finished)
        Result.model_validate_json(finished.result.model_dump_json())
    except ValidationError as error:  # a number that is none, say, which JSON does not have
        return _failed(finished, InvalidInput(f"it could not be read again ({error.error_count()} faults)"))
    except VoxloomError as error:
        return _failed(finished, error)
    return finished


def failed_instead(event: Event, error: VoxloomError) -> list[Event]:
    """What to say in place of an event of ours that no bus takes."""
    return [_failed(event, error)] if isinstance(event, RunFinished) else []


def _failed(finished: RunFinished, error: VoxloomError) -> RunFinished:
    """The report of a run that came to something which cannot be said."""
    known = finished.result
    result = Result(
        progress=known.progress if isfinite(known.progress) else 0.0,
        device=known.device,
        card=known.card,
        log_key=known.log_key,
        staged=known.staged,
        run_seconds=known.run_seconds,
        error=unsayable(error, "What the run came to cannot be passed on"),
    )
    return finished.model_copy(update={"outcome": "failed", "result": result})
