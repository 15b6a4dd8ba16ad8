"""One channel on which something is received, until it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.bus.amqp import channel_writer
from shared.bus.amqp.failures import translating
from shared.bus.amqp.frames import straight_of
from voxloom.errors import BusUnavailable, VoxloomError
from voxloom.ids import new_id

CLOSE_SECS = 5.0
PROBE_SECS = 5.0

log = logging.getLogger("voxloom.bus")


class Tags:
    """Delivery tags that are out on a channel, in their order, and which of them have been settled."""

    def __init__(self) -> None:
        self._out: deque[int] = deque()
        self._settled: set[int] = set()

    def hand_out(self, tag: int) -> None:
        self._out.append(tag)

    @property
    def out(self) -> int:
        return len(self._out)

    def settle(self, tag: int) -> None:
        self._settled.add(tag)

    def due(self) -> Iterator[tuple[int, bool]]:
        """What is to be acknowledged now: a tag, and whether with all before it. Each is told once."""
        last = None
        while self._out and self._out[0] in self._settled:
            last = self._out.popleft()
            self._settled.discard(last)
        if last is not None:
            yield last, True
        for tag in sorted(self._settled):
            self._out.remove(tag)
            yield tag, False
        self._settled.clear()


class Session:
    """What has arrived and waits is `ready`. Once it is `lost`, nothing can be settled any more: all that is out comes
    again, here or elsewhere."""

    def __init__(self, channel: AbstractChannel, *, prefetch: int = 0, limit: int | None = None) -> None:
        """`prefetch` may be out and not settled; 0: nothing has to be settled. Of more than `limit` that wait, the
        oldest go."""
        self.channel = channel
        self.prefetch = prefetch
        self.ready: deque[DeliveredMessage] = deque(maxlen=limit)
        self.tags = Tags()
        self.lost = False
        self.arrived = 0
        """How many messages there were, ever."""
        self._consumer = ""
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._asked: deque[asyncio.Future[None]] = deque()
        channel.closing.add_done_callback(lambda _: self.lose())
        channel.on_consumer_cancel_callbacks.add(lambda _: self.lose())

    async def consume(self, queue: str, **how: Any) -> None:
        """From now on what comes to that queue arrives here. `how`: as `basic_consume` takes it."""
        self._consumer = new_id()
        straight_of(self.channel).hand_to(self.arrive, self.channel, self._consumer)
        await self.channel.basic_consume(queue, _unused, consumer_tag=self._consumer, **how)
        straight_of(self.channel).answer(self._answered, self.channel)

    def arrive(self, message: DeliveredMessage) -> None:
        if self.prefetch and message.delivery_tag is not None:
            self.tags.hand_out(message.delivery_tag)
        self.ready.append(message)
        self.arrived += 1
        self._wake()

    def lose(self) -> None:
        self.lost = True
        self._wake()
        while self._asked:
            if not (answered := self._asked.popleft()).done():
                answered.set_exception(BusUnavailable("The connection to the broker was lost."))

    def _wake(self) -> None:
        for waiting, enough in self._waiting.items():
            if (self.lost or len(self.ready) >= enough) and not waiting.done():
                waiting.set_result(None)

    async def wait(self, enough: int = 1) -> None:
        """Until so many are ready, or the session is lost."""
        while len(self.ready) < enough and not self.lost:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[waiting] = enough
            try:
                await waiting
            finally:
                del self._waiting[waiting]

    def take(self, limit: int) -> list[DeliveredMessage]:
        if self.lost:
            return []
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]

    @property
    def is_full(self) -> bool:
        """Whether the broker holds back what else there may be."""
        return 0 < self.prefetch <= self.tags.out

    async def verify(self) -> None:
        """Asks the broker something that changes nothing. Raises BusUnavailable where it does not answer."""
        try:
            async with asyncio.timeout(PROBE_SECS):
                with translating("the broker"):
                    await self._ask()
        except TimeoutError:
            raise BusUnavailable("The broker does not answer.") from None

    async def _ask(self) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.lost:
            raise BusUnavailable("The connection to the broker was lost.")
        self._asked.append(answered)
        try:
            await channel_writer.ask(self.channel, self.prefetch)
        except BaseException:
            # Nothing will come for it, and what comes is for those behind it.
            if answered in self._asked:
                self._asked.remove(answered)
            raise
        await answered

    def _answered(self) -> None:
        """The broker answers in order."""
        if self._asked and not (answered := self._asked.popleft()).done():
            answered.set_result(None)

    async def answers(self) -> bool:
        """Whether the channel lives at the other end, too."""
        try:
            await self.verify()
        except BusUnavailable:
            return False
        return True

    async def acknowledge(self) -> None:
        """Tells the broker what has been settled since the last time."""
        try:
            with translating("the broker"):
                for tag, multiple in self.tags.due():
                    if not self.lost:
                        await self.channel.basic_ack(tag, multiple=multiple, wait=False)
        except VoxloomError as error:
            log.debug("what was settled comes again: %s", error)
            self.lose()

    async def end(self) -> None:
        """Closes the channel: what is out goes back to where it was, in order."""
        self.lose()
        try:
            async with asyncio.timeout(CLOSE_SECS):
                with translating("the broker"):
                    await self.channel.close()
        except (VoxloomError, TimeoutError) as error:
            log.debug("the channel was closed already: %s", error)
        finally:
            straight_of(self.channel).forget(self.channel, self._consumer, self._answered)


@asynccontextmanager
async def beginning(session: Session, shown: str) -> AsyncIterator[Session]:
    """In it the session is set up at the broker, which is `shown` so; one with which that fails is ended."""
    try:
        with translating(shown):
            yield session
    except BaseException:
        await session.end()
        raise


async def _unused(message: DeliveredMessage) -> None:
    """aiormq wants a consumer; what comes does not go through it."""
