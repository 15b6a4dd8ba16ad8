"""Events on their way to the bus: in the order in which they were put, kept until they are confirmed.

They wait in memory, not on disk. Whoever dies with some unsaid is followed by one that does not need them: the
decisions of a scheduler are made anew from the records, and what a worker would still have said about its attempts is
ignored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from messages.base import Event
from shared.bus.base import Bus
from shared.outages import waiting
from voxloom.backoff import Backoff
from voxloom.errors import Unavailable, VoxloomError
from voxloom.models import RunError

_AT_ONCE = 500
_SOON = 0.02
"""Seconds. What a short run says in them goes in one piece; nobody notices that a long one says it later."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

Instead = Callable[[Event, VoxloomError], Iterable[Event]]
"""What to say in place of an event that no bus takes; it has to be smaller."""

log = logging.getLogger("voxloom.bus")


def _nothing(event: Event, error: VoxloomError) -> Iterable[Event]:
    return ()


class Outbox:
    """`put` never waits. `say` publishes what there is, once; `run` is a task that does so again and again.

    An event that the bus refuses (too large, say) is refused for ever. It must not hold up the others: `instead` says
    how that is told, and it is logged.
    """

    def __init__(self, bus: Bus, instead: Instead = _nothing) -> None:
        self._bus = bus
        self._instead = instead
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._leaving = 0
        """So many of the first are on their way, or may have been kept."""
        self._saying = asyncio.Lock()
        self._replacing: set[str] = set()
        """Events that are said in place of others: if they are refused, too, nothing is."""
        self._failed = False
        self._begun: float | None = None

    def __len__(self) -> int:
        """How many are not confirmed yet."""
        return len(self._events)

    def put(self, *events: Event, soon: bool = False) -> None:
        """`soon`: nobody waits for these; they go with the next ones, or after a few milliseconds."""
        if not events:
            return
        self._events.extend(events)
        self._empty.clear()
        if not soon:
            self._filled.set()
        elif not self._filled.is_set():
            asyncio.get_running_loop().call_later(_SOON, self._hurry, events[-1])

    def _hurry(self, event: Event) -> None:
        """One that was taken back meanwhile makes no later one leave early."""
        if any(other is event for other in self._events):
            self._filled.set()

    def take_back(self, event: Event) -> bool:
        """Whether it was still here, and nobody can have heard it: then it is not said any more."""
        for place, other in enumerate(self._events):
            if other is event and place >= self._leaving:
                del self._events[place]
                return True
        return False

    def drop(self) -> None:
        """None of these is to be said any more."""
        self._events.clear()
        self._leaving = 0
        self._replacing.clear()
        self._emptied()

    async def run(self) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._filled.wait()
            try:
                await self.say()
                backoff.reset()
            except Unavailable as error:
                wait = backoff.next()
                log.warning(
                    "%d events wait %.1f s for the bus: %s", len(self._events), wait, error, extra=waiting(error)
                )
                await asyncio.sleep(wait)

    async def say(self) -> None:
        """Publishes all; what fails stays for the next time, and one that may or may not have been kept is published
        again. Raises BusUnavailable."""
        async with self._saying:
            at_once = _AT_ONCE
            while self._events:
                at_once = await self._say_some(at_once)
            self._emptied()

    async def _say_some(self, at_once: int) -> int:
        """How many to say together next: where one of them is refused, one by one until it is found."""
        batch = list(islice(self._events, at_once))
        self._leaving = len(batch)
        try:
            await self._publish(batch)
        except Unavailable:
            raise
        except VoxloomError as error:
            if len(batch) > 1:
                return 1
            self._replace(batch[0], error)
            return _AT_ONCE
        self._remove(batch)
        return at_once

    async def _publish(self, batch: list[Event]) -> None:
        self._begun = time.monotonic()
        try:
            await self._bus.publish(*batch)
            self._failed = False
        except Unavailable:
            self._failed = True
            raise
        finally:
            self._begun = None

    def _remove(self, batch: list[Event]) -> bool:
        """Not by their number: they may have been dropped meanwhile."""
        if not self._events or self._events[0] is not batch[0]:
            return False
        self._leaving = 0
        for _ in batch:
            self._replacing.discard(self._events.popleft().id)
        return True

    def _replace(self, event: Event, error: VoxloomError) -> None:
        log.error("no bus takes %s of %s: %s", event.type_name, event.subject, error.message)
        is_first = event.id not in self._replacing
        if self._remove([event]) and is_first:
            others = list(self._instead(event, error))
            self._replacing.update(other.id for other in others)
            self._events.extendleft(reversed(others))

    def _emptied(self) -> None:
        self._filled.clear()
        self._empty.set()

    async def drained(self, timeout: float) -> bool:
        """Waits until everything is confirmed; False if it is not within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def stuck(self, longest: float) -> bool:
        """Whether the bus does not take them, or has not answered for `longest` seconds."""
        return self._failed or (self._begun is not None and time.monotonic() - self._begun > longest)


def unsayable(error: VoxloomError, what: str) -> RunError:
    """How a run ends of which something cannot be said."""
    return RunError(type=type(error).__name__, message=f"{what}: {error.message}", code=error.code)
