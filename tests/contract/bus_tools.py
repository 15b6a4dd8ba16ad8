"""What tests of a bus are made of.

A broker may be shared by many tests: each has a project of its own in its routing keys, and names of its own for
its queues.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

import pytest

from messages.base import Event
from messages.files import FileUploaded
from messages.gateways import GatewayStarted
from shared.bus.base import Bus, DeadLetter, Policy, Queue, QueueStats
from voxloom.ids import new_id

DEADLINE = 60.0
QUICK = Policy(delays=None, first_pause=0.01, longest_pause=0.02)
"""KEEP, for tests."""
TWICE = Policy(delays=(0.05, 0.05))
"""Three tries."""
ONCE = Policy(delays=())


class Footing(ABC):
    """An adapter under test. Queues that have expired are gone within a second or so."""

    bus: Bus

    @abstractmethod
    async def reopen(self) -> Bus:
        """Closes the bus and opens a new one on the same data."""


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    """Polls until `condition` holds."""
    async with asyncio.timeout(deadline):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.005)


class Inbox:
    """A handler that remembers, for queues, streams and live events. `fails` says of which subjects, how often."""

    def __init__(self, fails: dict[str, int] | None = None) -> None:
        self.batches: list[list[str]] = []
        self.events: list[Event] = []
        self.offsets: list[int] = []
        self.tried: list[str] = []
        self._fails = dict(fails or {})

    @property
    def subjects(self) -> list[str]:
        return [event.subject for event in self.events]

    async def __call__(self, events: Sequence[Event]) -> None:
        subjects = [event.subject for event in events]
        self.tried += subjects
        for subject in subjects:
            if self._fails.get(subject, 0) > 0:
                self._fails[subject] -= 1
                raise ValueError(f"no luck with {subject}")
        self.batches.append(subjects)
        self.events += events

    async def has(self, *subjects: str) -> None:
        """Waits until these have come, in any order."""
        await until(lambda: set(subjects) <= set(self.subjects))


class StreamInbox(Inbox):
    """Remembers what one project says on the stream."""

    def __init__(self, project: str) -> None:
        super().__init__()
        self._project = project

    async def take(self, events: Sequence[tuple[int, Event]]) -> None:
        ours = [(offset, event) for offset, event in events if event.project == self._project]
        self.offsets += [offset for offset, _ in ours]
        self.events += [event for _, event in ours]


async def offset_of_one_more(bus: Bus) -> int:
    """Publishes something and says where in the stream it is."""
    project = f"t{new_id()}"
    inbox = StreamInbox(project)
    follower = await bus.follow(inbox.take)
    await bus.publish(GatewayStarted(subject="mark", project=project))
    await inbox.has("mark")
    await follower.close()
    return inbox.offsets[0]


def numbers(start: int, end: int) -> list[str]:
    return [str(number) for number in range(start, end)]


class BusTests:
    """Fixtures on top of `footing`, which an adapter gives, and some looks at the bus."""

    @pytest.fixture
    def project(self) -> str:
        return f"t{new_id()}"

    @pytest.fixture
    def bus(self, footing: Footing) -> Bus:
        return footing.bus

    @pytest.fixture
    def uploaded(self, project: str) -> Callable[[str], FileUploaded]:
        return lambda subject: FileUploaded(subject=subject, project=project, size=1, etag="e")

    @pytest.fixture
    def queue(self, project: str) -> Queue:
        """Keeps every upload of this test."""
        return Queue(f"q-{project}", (f"file.uploaded.{project}.#",), QUICK)

    async def dead_letters(self, bus: Bus, queue: Queue) -> list[DeadLetter]:
        return [letter for letter in await bus.dead_letters(limit=10_000) if letter.queue == queue.name]

    async def dead_letter(self, bus: Bus, queue: Queue) -> DeadLetter:
        """Waits for the first one of a queue."""
        return (await self.first_dead(bus, queue, 1))[0]

    async def first_dead(self, bus: Bus, queue: Queue, count: int) -> list[DeadLetter]:
        """Waits for so many of a queue."""
        async with asyncio.timeout(DEADLINE):
            while len(letters := await self.dead_letters(bus, queue)) < count:
                await asyncio.sleep(0.01)
        return letters[:count]

    async def stats(self, bus: Bus, queue: Queue) -> QueueStats | None:
        return next((stats for stats in await bus.stats() if stats.name == queue.name), None)

    async def waits(self, bus: Bus, queue: Queue, count: int) -> bool:
        stats = await self.stats(bus, queue)
        return stats is not None and stats.waiting == count

    async def is_gone(self, bus: Bus, queue: Queue) -> bool:
        return await self.stats(bus, queue) is None
