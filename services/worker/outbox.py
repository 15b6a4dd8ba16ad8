"""A worker's lifecycle events on their way to the bus: in order, kept until confirmed.

They wait in memory, not on disk: when this process dies its incarnation is over, and what it would still have said
about its attempts must be ignored anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from messages.base import Event
from messages.executions import ExecutionFinished, Result
from shared.bus.base import Bus
from shared.outages import waiting
from voxloom.errors import Unavailable, VoxloomError
from voxloom.models import RunError

log = logging.getLogger("voxloom.worker")

_AT_ONCE = 200
_SOON = 0.005
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Outbox:
    """`put` never waits; `run` is a task of the worker's."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many are not confirmed yet."""
        return len(self._events)

    def put(self, *events: Event, soon: bool = False) -> None:
        """`soon`: nobody waits for these; they go with the next ones, or after a few milliseconds."""
        self._events.extend(events)
        self._empty.clear()
        if not soon:
            self._filled.set()
        elif not self._filled.is_set():
            asyncio.get_running_loop().call_later(_SOON, self._filled.set)

    async def run(self) -> None:
        failures = 0
        while True:
            await self._filled.wait()
            try:
                await self._send()
                failures = 0
            except Unavailable as error:
                wait = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures)
                failures += 1
                log.warning(
                    "%d events wait %.1f s for the bus: %s", len(self._events), wait, error, extra=waiting(error)
                )
                await asyncio.sleep(wait)

    async def _send(self) -> None:
        """Publishes what is there; an event that may or may not have been kept is published again."""
        at_once = _AT_ONCE
        while self._events:
            batch = [self._events[index] for index in range(min(at_once, len(self._events)))]
            try:
                await self._bus.publish(*batch)
            except Unavailable:
                raise
            except VoxloomError as error:
                # One of them can never be published, and the others shall not suffer for it.
                if len(batch) == 1:
                    self._replace_first(error)
                at_once = 1
                continue
            for _ in batch:
                self._events.popleft()
        self._filled.clear()
        self._empty.set()

    def _replace_first(self, error: VoxloomError) -> None:
        event = self._events.popleft()
        log.error("the bus refuses %s of %s: %s", event.type_name(), event.subject, error)
        if isinstance(event, ExecutionFinished) and event.result != Result(error=_refused(error)):
            self._events.appendleft(_told(event, error))

    async def drained(self, timeout: float) -> bool:
        """Waits until everything is confirmed; False if it is not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


def _told(event: ExecutionFinished, error: VoxloomError) -> ExecutionFinished:
    """The report of a run that came to something which cannot be said."""
    return event.model_copy(update={"outcome": "failed", "result": Result(error=_refused(error))})


def _refused(error: VoxloomError) -> RunError:
    message = f"What the run came to cannot be passed on: {error.message}"
    return RunError(type=type(error).__name__, message=message, code=error.code)
