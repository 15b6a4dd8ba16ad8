"""Those who receive from the embedded bus: consumers of queues, followers of the stream, listeners to live events."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from messages.base import Event, Outline, WantsData
from messages.wire import UndecodableMessage, decode_wanted
from shared.bus.base import Following, Handler, LiveHandler, Queue, StreamHandler
from shared.bus.delivery import deliver
from shared.bus.embedded.feed import Feed, Load
from shared.bus.embedded.queues import LocalDelivery, LocalQueue
from shared.bus.embedded.rows import Entry
from shared.bus.tasks import GivenUp, Progress, Worked
from shared.outages import waiting
from voxloom.errors import BusUnavailable

STREAM_BATCH = 128
LIVE_BATCH = 128
YIELD_SECS = 0.005
"""Handlers that never wait give way to others after so long."""
READ_AGAIN_SECS = 1.0

log = logging.getLogger("voxloom.bus")


class Consumer(Worked):
    """Feeds a handler from a queue. What is unsettled when it ends goes back to the queue."""

    def __init__(
        self,
        queue: LocalQueue,
        spec: Queue,
        handler: Handler,
        *,
        room: Callable[[], Awaitable[None]],
        on_close: Callable[[Worked], None],
    ) -> None:
        """`room` waits while more has been settled than could be saved."""
        super().__init__(on_close)
        self.queue = queue
        self._spec = spec
        self._handler = self.guarded(handler)
        self._room = room
        queue.join(self)
        self.start(spec.name, max(1, spec.concurrency))

    @property
    def wants_more(self) -> bool:
        return not self._closing and not self.queue.deleted

    @property
    def alive(self) -> bool:
        return super().alive and not self.queue.deleted

    async def close(self, *, drain: float = 10.0) -> None:
        try:
            await super().close(drain=drain)
        finally:
            self.queue.leave(self)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        while self.wants_more:
            self._awake.clear()
            if self._spec.linger and not self.queue.fills(self._spec.batch):
                await asyncio.sleep(self._spec.linger)
            batch = await self._take()
            if batch:
                await self._deliver(batch)
            elif self.wants_more:
                await self._awake.wait()
                since = loop.time()
            if loop.time() - since > YIELD_SECS:
                await asyncio.sleep(0)
                since = loop.time()

    async def _take(self) -> list[LocalDelivery]:
        while True:
            try:
                await self._room()
                return await self.queue.take(self, self._spec.batch)
            except BusUnavailable as error:
                log.warning("%s waits: %s", self._spec.name, error, extra=waiting(error))
                await asyncio.sleep(READ_AGAIN_SECS)

    async def _deliver(self, batch: list[LocalDelivery]) -> None:
        try:
            await deliver(batch, self._handler, self._spec.policy)
        except GivenUp as given_up:
            log.info("%s ends; what failed last (%s) is for the next consumer", self._spec.name, given_up.__cause__)
        finally:
            self.queue.give_back(batch)


class Follower(Worked, Following):
    """Feeds a handler from the stream."""

    def __init__(
        self,
        feed: Feed,
        handler: StreamHandler,
        *,
        wanted: WantsData,
        read: Load,
        newest: Callable[[], int],
        on_close: Callable[[Worked], None],
    ) -> None:
        super().__init__(on_close)
        self._feed = feed
        self._handler = handler
        self._wanted = wanted
        self._read = read
        self._newest = newest
        self._handled = Progress()
        self.start("stream")

    def offer(self, entry: Entry) -> None:
        self._feed.offer(entry)
        self.wake()

    async def _work(self) -> None:
        while not self._closing:
            self._awake.clear()
            if batch := self._next():
                with self._handling():
                    await self._handler(batch)
                self._handled.reach(self._point())
                await asyncio.sleep(0)
            elif self._feed.lags:
                await self._load()
            else:
                self._handled.reach(self._point())
                await self._awake.wait()

    def _point(self) -> int:
        """The offset up to which all was handled or passed over, while no handler runs."""
        return self._feed.ready[0].seq - 1 if self._feed.ready else self._feed.loaded

    def is_caught_up(self) -> bool:
        return not self._feed.lags and self._handled.point >= self._feed.loaded and self.alive

    async def catch_up(self) -> None:
        # What is committed has been offered before its publisher hears of it.
        target = self._newest() if self._feed.lags else self._feed.loaded
        if not self.alive or not await self._handled.wait(target):
            raise BusUnavailable("The stream of events is not followed any more.")

    async def close(self, *, drain: float = 10.0) -> None:
        try:
            await super().close(drain=drain)
        finally:
            self._handled.break_off()

    def _next(self) -> list[tuple[int, Event]]:
        """The next events; what is no event of ours is passed over."""
        batch: list[tuple[int, Event]] = []
        while self._feed.ready and len(batch) < STREAM_BATCH:
            entry = self._feed.take()
            event = self._decoded(entry)
            if event is not None:
                batch.append((entry.seq, event))
        return batch

    def _decoded(self, entry: Entry) -> Event | None:
        if entry.event is not None:
            return entry.event
        try:
            keys, headers, body = entry.message
            event = decode_wanted(headers, body, keys, self._wanted)
        except UndecodableMessage as error:
            log.warning("the message at offset %d of the stream is passed over: %s", entry.seq, error)
            return None
        if not isinstance(event, Outline):
            entry.event = event  # for others that it is handed to
        return event

    async def _load(self) -> None:
        try:
            await self._feed.load(self._read, self._newest)
        except BusUnavailable as error:
            log.warning("a follower of the stream waits: %s", error, extra=waiting(error))
            await asyncio.sleep(READ_AGAIN_SECS)


class Listener(Worked):
    """Calls a handler with live events; of more than `limit` waiting, the oldest go."""

    def __init__(self, handler: LiveHandler, limit: int, on_close: Callable[[Worked], None]) -> None:
        super().__init__(on_close)
        self._handler = handler
        self._waiting: deque[Event] = deque(maxlen=limit)
        self.start("live")

    def offer(self, event: Event) -> None:
        self._waiting.append(event)
        self.wake()

    async def _work(self) -> None:
        while not self._closing:
            self._awake.clear()
            for _ in range(min(LIVE_BATCH, len(self._waiting))):
                self._call(self._waiting.popleft())
            if self._waiting:
                await asyncio.sleep(0)
            else:
                await self._awake.wait()

    def _call(self, event: Event) -> None:
        try:
            self._handler(event)
        except Exception:
            # One event must not cost all that follow, and it may be lost anyway.
            log.exception("a listener failed on %s", event.routing_key)
