"""One service on the embedded bus and store, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from messages.base import Event
from messages.runs import RunEvent
from shared.bus import topology
from shared.bus.local import LocalBus
from shared.objects.local import LocalObjectStore
from shared.service import Platform, Service
from tests.given import Given
from voxloom.ids import is_id

DEADLINE = 60.0

E = TypeVar("E", bound=Event)
S = TypeVar("S", bound=Service)


class Heard:
    """Every event that was published, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Condition()

    async def note(self, events: Sequence[tuple[int, Event]]) -> None:
        async with self._news:
            self.events += [event for _, event in events]
            self._news.notify_all()

    def of(self, *kinds: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kinds)]

    def unnamed(self) -> set[str]:
        """Runs whose ids are no UUIDs, which no gateway accepts."""
        runs = {event.subject for event in self.events if isinstance(event, RunEvent)}
        return {run for run in runs if not is_id(run)}

    async def first(self, *kinds: type[E], subject: str) -> E:
        """The first event of these kinds about `subject`, also if it is yet to come."""
        return (await self.some(1, *kinds, subject=subject))[0]

    async def some(self, count: int, *kinds: type[E], subject: str | None = None) -> list[E]:
        def found() -> list[E]:
            return [event for event in self.of(*kinds) if subject in (None, event.subject)]

        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: len(found()) >= count)
        return found()


@asynccontextmanager
async def open_platform(folder: Path, **settings: Any) -> AsyncIterator[tuple[Platform, Heard]]:
    bus, store = LocalBus(folder / "bus"), LocalObjectStore(folder / "objects")
    await bus.open()
    await store.open()
    heard = Heard()
    try:
        await bus.declare(*topology.ALL)
        following = await bus.follow(heard.note)
        yield Platform(bus=bus, store=store, settings=Given(data=folder, **settings)), heard
        await following.close()
        assert not heard.unnamed(), "a service may pass these over, now or then: see tests/named.py"
    finally:
        await bus.close()
        await store.close()


@asynccontextmanager
async def running(make: Callable[[Platform], S], platform: Platform) -> AsyncIterator[S]:
    service = make(platform)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
