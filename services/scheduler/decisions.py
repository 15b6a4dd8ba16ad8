"""Decisions on their way to the bus: in the order in which they were made, kept until they are out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from messages.base import Event
from shared.bus.base import Bus
from voxloom.errors import Unavailable

_AT_ONCE = 500


class Decisions:
    """What was decided is decided: it is said as soon as the bus takes it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._events: list[Event] = []
        self._saying = asyncio.Lock()
        self._failed = False
        self._begun: float | None = None

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: Iterable[Event]) -> None:
        self._events += events

    def drop(self) -> None:
        self._events.clear()

    async def say(self) -> None:
        """Publishes all; what fails stays for the next time. Raises BusUnavailable."""
        async with self._saying:
            while self._events:
                batch = self._events[:_AT_ONCE]
                await self._publish(batch)
                # Not by their number: they may have been dropped meanwhile.
                if self._events[:1] == batch[:1]:
                    del self._events[: len(batch)]

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

    def stuck(self, longest: float) -> bool:
        """Whether the bus does not take them, or has not answered for `longest` seconds."""
        return self._failed or (self._begun is not None and time.monotonic() - self._begun > longest)
