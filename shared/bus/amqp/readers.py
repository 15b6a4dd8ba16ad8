"""Those who settle nothing: followers of the stream, listeners to live events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from aiormq.abc import DeliveredMessage

from messages.base import Event, WantsData
from messages.wire import UndecodableMessage, decode, decode_wanted
from shared.bus.amqp.codec import headers_of, keys_of, stream_offset
from shared.bus.amqp.declarations import EVENTS, LIVE
from shared.bus.amqp.failures import translating
from shared.bus.amqp.link import Link
from shared.bus.amqp.receivers import Receiver
from shared.bus.amqp.sessions import Session, beginning
from shared.bus.base import Following, LiveHandler, StreamHandler
from shared.bus.tasks import Progress, Worked
from shared.single_flight import Together
from voxloom.errors import BusUnavailable
from voxloom.models import utc_now

STREAM_PREFETCH = 1000
STREAM_BATCH = 250
ACKNOWLEDGED_AT_ONCE = STREAM_PREFETCH // 4
LIVE_BATCH = 128
LAST_SECS = 2.0
"""In which the broker has sent the end of the stream."""

log = logging.getLogger("voxloom.bus")

Start = int | datetime | str


def start_of(after: int | None, since: datetime | None) -> Start:
    """Where the broker begins. It counts from 0, and we from 1: what comes after ours has its number there."""
    if after is not None:
        return max(0, after)
    return since if since is not None else "next"


class Follower(Receiver, Following):
    """Feeds a handler from the stream, from where it was when a session is lost."""

    def __init__(
        self,
        handler: StreamHandler,
        start: Start,
        on_loss: Callable[[], None] | None,
        wanted: WantsData,
        link: Link,
        on_close: Callable[[Worked], None],
    ) -> None:
        super().__init__("stream", EVENTS, link, on_close)
        self._handler = handler
        self._start = start
        self._on_loss = on_loss
        self._wanted = wanted
        self._last = 0
        self._last_id = ""
        self._handled = Progress()
        self._catching_up = Together("bus.catch-up", self._catch_up)

    async def _begin(self) -> Session:
        began = utc_now()
        self._handled = Progress()
        await self._see_whether_it_is_the_same_stream()
        channel = await self._link.channel()
        async with beginning(Session(channel, prefetch=STREAM_PREFETCH), self._link.shown) as session:
            # The last one once more: it shows whether this is the stream that it was.
            await _read(session, self._last - 1 if self._last else self._start)
        if self._start == "next":
            # Should this session be lost before anything has come, the next one must not begin later.
            self._start = began
        return session

    async def _see_whether_it_is_the_same_stream(self) -> None:
        """An offset that never was is from another broker, or from this one before it lost its disk: the broker would
        let us wait until it comes."""
        if self._last:
            if not await _has(self._link, self._last):
                self._begin_anew()
        elif isinstance(self._start, int) and not await _has(self._link, self._start):
            self._start = "next"

    def _is_from_another_stream(self, message: DeliveredMessage) -> bool:
        return stream_offset(message) + 1 == self._last and _id_of(message) != self._last_id

    def _begin_anew(self) -> None:
        log.error("the broker has lost its stream and begun another one; who follows it hears that from its beginning")
        self._last, self._last_id, self._start = 0, "", "first"
        if self._on_loss is not None:
            self._on_loss()

    async def _is_known(self, session: Session, consumers: Callable[[str], Awaitable[int]]) -> bool:
        # Of a stream the broker does not count who reads.
        return await session.answers()

    async def _work(self) -> None:
        while (session := await self._usable()) is not None and not self._closing:
            await session.wait()
            if session.lost:
                self._handled.break_off()
            messages = session.take(STREAM_BATCH)
            if any(map(self._is_from_another_stream, messages)):
                self._begin_anew()
                session.lose()
            elif messages:
                await self._handle(messages)
                await _acknowledge(session, messages)
                self._handled.reach(session.arrived - len(session.ready))

    async def _handle(self, messages: Sequence[DeliveredMessage]) -> None:
        if batch := list(self._news(messages)):
            with self._handling():
                await self._handler(batch)

    async def catch_up(self) -> None:
        await self._catching_up()

    async def _catch_up(self) -> None:
        session = self._session
        if session is None or session.lost:
            raise BusUnavailable("The stream of events is not read just now; try again.")
        # The broker answers a channel in order: all that it had for us when it was asked has come before the answer.
        while True:
            await session.verify()
            full = session.is_full
            if not await self._handled.wait(session.arrived) or session is not self._session:
                raise BusUnavailable("The connection to the broker was lost; try again.")
            if not full:
                return

    async def close(self, *, drain: float = 10.0) -> None:
        try:
            await super().close(drain=drain)
        finally:
            self._handled.break_off()
            await self._catching_up.close()

    def _news(self, messages: Sequence[DeliveredMessage]) -> Iterator[tuple[int, Event]]:
        """What has not been handed out yet; the broker may begin a little earlier than it was told."""
        for message in messages:
            offset = stream_offset(message) + 1
            if offset <= self._last:
                continue
            self._last, self._last_id = offset, _id_of(message)
            event = self._decoded(message, offset)
            if event is not None:
                yield offset, event

    def _decoded(self, message: DeliveredMessage, offset: int) -> Event | None:
        try:
            return decode_wanted(headers_of(message), message.body, keys_of(message), self._wanted)
        except UndecodableMessage as error:
            log.warning("the message at offset %d of the stream is passed over: %s", offset, error)
            return None


def _id_of(message: DeliveredMessage) -> str:
    return message.header.properties.message_id or ""


async def _read(session: Session, start: Start) -> None:
    await session.channel.basic_qos(prefetch_count=session.prefetch)
    await session.consume(EVENTS, arguments={"x-stream-offset": start})


async def _has(link: Link, offset: int) -> bool:
    """Whether the stream reaches as far as the event of this offset."""
    if offset <= 0:
        return True
    session = Session(await link.channel(), prefetch=STREAM_PREFETCH)
    try:
        with translating(link.shown):
            await _read(session, "last")
        async with asyncio.timeout(LAST_SECS):
            return await _comes(session, offset)
    except TimeoutError:
        return False
    finally:
        await session.end()


async def _comes(session: Session, offset: int) -> bool:
    while not session.lost:
        await session.wait()
        messages = session.take(STREAM_BATCH)
        if any(stream_offset(message) + 1 >= offset for message in messages):
            return True
        await _acknowledge(session, messages)
    raise BusUnavailable("The connection to the broker was lost.")


async def _acknowledge(session: Session, messages: Sequence[DeliveredMessage]) -> None:
    """Of a stream nothing is settled by it; it lets the broker send more, and need not be done before that is due."""
    for message in messages:
        session.tags.settle(message.delivery_tag or 0)
    if session.tags.out >= ACKNOWLEDGED_AT_ONCE:
        await session.acknowledge()


class Listener(Receiver):
    """Calls a handler with live events, from a queue that lives as long as the session."""

    def __init__(
        self,
        patterns: Sequence[str],
        handler: LiveHandler,
        limit: int,
        link: Link,
        on_close: Callable[[Worked], None],
    ) -> None:
        super().__init__("live", "", link, on_close)
        self._patterns = tuple(patterns)
        self._handler = handler
        self._limit = limit

    async def _begin(self) -> Session:
        async with beginning(Session(await self._link.channel(), limit=self._limit), self._link.shown) as session:
            await self._listen_on(session)
        return session

    async def _listen_on(self, session: Session) -> None:
        arguments: dict[str, Any] = {"x-max-length": self._limit, "x-overflow": "drop-head"}
        made = await session.channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments)
        self.queue = made.queue or ""
        for pattern in self._patterns:
            await session.channel.queue_bind(self.queue, LIVE, pattern)
        await session.consume(self.queue, no_ack=True)

    async def _work(self) -> None:
        while (session := await self._usable()) is not None and not self._closing:
            await session.wait()
            for message in session.take(LIVE_BATCH):
                self._call(message)

    def _call(self, delivered: DeliveredMessage) -> None:
        try:
            self._handler(decode(headers_of(delivered), delivered.body, keys_of(delivered)))
        except UndecodableMessage as error:
            log.debug("a live event is passed over: %s", error)
        except Exception:
            # One event must not cost all that follow, and it may be lost anyway.
            log.exception("a listener failed on %s", delivered.routing_key)
