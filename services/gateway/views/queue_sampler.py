"""Looks every couple of seconds how many events wait in the queues, and tells of the queues as of then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from services.gateway.views.queues import QueueWatch
from shared.bus.base import Bus, DeadLetter, QueueStats
from voxloom.errors import BusUnavailable, Unavailable
from voxloom.models import QueueFigures, QueueReport

PAUSE_SECS = 2.0
PATIENCE_SECS = 10.0
OLD_SECS = 3 * PAUSE_SECS
"""Figures that are older are not shown: they are asked for anew."""
FIRST_SECS = 1.0
MOST_DEAD_LETTERS = 1000
"""So many are looked at, at most."""
DEAD, PARKED = "dead", "parked"
"""Where a broker keeps dead letters in queues, these are their names."""

log = logging.getLogger("voxloom.gateway")
T = TypeVar("T")


class DeadCount(NamedTuple):
    dead: int
    parked: int


class Known(NamedTuple):
    figures: list[QueueFigures]
    dead_letters: int
    age: float
    """Seconds since the broker told; infinite where it never has."""


class Sampler:
    def __init__(self, bus: Bus, watch: QueueWatch) -> None:
        self._bus = bus
        self._watch = watch
        self._sampled = float("-inf")
        self._dead: DeadCount | None = None
        """Where the broker counts them."""
        self._dead_known = 0
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled. A broker that is away is looked at again when it is back."""
        while True:
            try:
                await self._sample()
                self._dead_known = await self.dead_letters()
                self._looked.set()
            except Unavailable as error:
                log.debug("the queues cannot be looked at now: %s", error)
            await asyncio.sleep(PAUSE_SECS)

    async def _sample(self) -> None:
        stats = await in_time(self._bus.stats(*self._watch.of_instances(), DEAD, PARKED))
        self._watch.sample(one for one in stats if one.name not in (DEAD, PARKED))
        self._dead = dead_count(stats)
        self._sampled = time.monotonic()

    async def known(self) -> Known:
        """As of the last look: nobody waits for a broker that is away. Only the first look is waited for, a little."""
        if not self._looked.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECS):
                    await self._looked.wait()
        return Known(self._watch.report(), self._dead_known, time.monotonic() - self._sampled)

    async def figures(self) -> list[QueueFigures]:
        """Of the queues alone. Raises BusUnavailable."""
        if time.monotonic() - self._sampled > OLD_SECS:
            await self._sample()
        return self._watch.report()

    async def dead_letters(self) -> int:
        """How many there are, as of the last look; where nobody counts them, up to 1000. Raises BusUnavailable."""
        return sum(self._dead) if self._dead is not None else len(await self._look_at_dead_letters())

    async def report(self) -> QueueReport:
        """With the dead letters that came from each. Raises BusUnavailable."""
        figures = await self.figures()
        counted = self._dead
        letters = await self._look_at_dead_letters() if counted is None or any(counted) else []
        return with_dead_letters(figures, letters, counted)

    async def _look_at_dead_letters(self) -> list[DeadLetter]:
        """Dear where a broker keeps them in queues: each is taken out and given back."""
        return await in_time(self._bus.dead_letters(limit=MOST_DEAD_LETTERS))


async def in_time(question: Awaitable[T]) -> T:
    try:
        # Not wait_for: in Python 3.11 it loses a cancel that comes together with the answer.
        async with asyncio.timeout(PATIENCE_SECS):
            return await question
    except TimeoutError:
        raise BusUnavailable(
            f"The broker has not told within {PATIENCE_SECS:g} s how its queues are; ask again in a moment."
        ) from None


def dead_count(stats: Iterable[QueueStats]) -> DeadCount | None:
    """None where the broker keeps them in no queues."""
    waiting = {one.name: one.waiting for one in stats if one.name in (DEAD, PARKED)}
    return DeadCount(waiting.get(DEAD, 0), waiting.get(PARKED, 0)) if waiting else None


def with_dead_letters(
    figures: Iterable[QueueFigures], letters: Sequence[DeadLetter], counted: DeadCount | None
) -> QueueReport:
    """`letters` tell which queues they came from; all of them are there, or as many as are looked at."""
    dead = Counter(letter.queue for letter in letters if not letter.parked)
    parked = Counter(letter.queue for letter in letters if letter.parked)
    items = [one.model_copy(update={"dead": dead[one.name], "parked": parked[one.name]}) for one in figures]
    total = DeadCount(dead.total(), parked.total())
    if counted is not None and len(letters) >= MOST_DEAD_LETTERS:
        total = DeadCount(max(counted.dead, total.dead), max(counted.parked, total.parked))
    return QueueReport(items=items, dead=total.dead, parked=total.parked)
