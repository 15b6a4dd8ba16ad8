"""The place for those outside on RabbitMQ: a vhost of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from messages.wire import Message
from shared.bus import outside
from shared.bus.amqp.address import parse
from shared.bus.amqp.channel_writer import check_library
from shared.bus.amqp.codec import headers_of, properties
from shared.bus.amqp.declarations import EVENTS, quorum_arguments
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.link import Link
from shared.bus.amqp.management import asking
from shared.bus.amqp.publisher import Publisher
from shared.bus.amqp.receivers import Receiver
from shared.bus.amqp.sessions import Session, beginning
from shared.bus.limits import check_message
from shared.bus.outside import Answering, Asking, Outside
from shared.bus.tasks import Worked
from shared.outages import Outage, waiting
from voxloom.errors import BusUnavailable, Misconfigured, VoxloomError

PREFETCH = 8
"""So many are looked at at once: few, since each may be as large as the broker lets it be."""
AGAIN_SECS = 0.5
WATCH_SECS = 5.0
_DELIVERIES = "x-delivery-count"

log = logging.getLogger("voxloom.bus")


class RabbitOutside(Outside):
    """Two connections, as the bus has them."""

    def __init__(self, url: str) -> None:
        """`url`: amqp:// or amqps://, with user, password and vhost. Raises Misconfigured."""
        self._address = parse(url)
        down = "those outside cannot be reached"
        self._outage = Outage(log, down, "those outside can be reached again", BusUnavailable)
        self._out = Link(self._address, "tells those outside", self._outage, self._prepare)
        self._in = Link(self._address, "hears those outside", self._outage, self._prepare)
        self._publisher = Publisher(self._out, self._address.shown, self._outage, insists=False)
        self._inbox: Inbox | None = None
        self._watchdog: asyncio.Task[None] | None = None

    async def open(self) -> None:
        try:
            await self._out.open()
            await self._in.open()
        except Misconfigured as error:
            await self.close()
            raise Misconfigured(
                f"{error.message} (The setting `outside`; docs/events.md says what it needs.)"
            ) from error
        except BaseException:
            await self.close()
            raise

    async def close(self, *, drain: float = 10.0) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
        if self._inbox is not None:
            await self._inbox.close(drain=drain)
        await asyncio.gather(self._out.close(), self._in.close())

    async def _prepare(self, connection: AbstractConnection) -> None:
        await self._see_that_it_is_another(connection)
        channel = await connection.channel(publisher_confirms=False)
        check_library(channel)
        await declare(channel)
        await channel.close()

    async def _see_that_it_is_another(self, connection: AbstractConnection) -> None:
        """What is copied into the vhost of the services themselves would be copied again, without end."""
        try:
            await (await connection.channel(publisher_confirms=False)).queue_declare(EVENTS, passive=True)
        except ChannelNotFoundEntity:
            return
        raise Misconfigured(
            f"{self._address.shown} is the vhost of the services, or was one: it has their stream. Name another vhost, "
            "one that has nothing in it."
        )

    async def say(self, messages: Sequence[Message]) -> None:
        await self._publisher.send([_letter(message) for message in messages])

    async def serve(self, answering: Answering) -> None:
        inbox = Inbox(answering, self._in, _forget)
        await inbox.begin(PREFETCH)
        self._inbox = inbox
        self._watchdog = asyncio.create_task(self._watch(inbox), name="bus.outside.watchdog")

    @property
    def is_there(self) -> bool:
        return self._out.connected and self._inbox is not None and self._inbox.alive

    async def _watch(self, inbox: Inbox) -> None:
        while True:
            await asyncio.sleep(WATCH_SECS)
            try:
                await inbox.verify(self._consumers_of)
            except VoxloomError as error:
                log.warning("it is not known whether those outside are heard: %s", error, extra=waiting(error))

    async def _consumers_of(self, queue: str) -> int:
        async with asking(self._in) as channel:
            return (await channel.queue_declare(queue, passive=True)).consumer_count or 0


async def declare(channel: AbstractChannel) -> None:
    for name in (outside.EVENTS, outside.REQUESTS):
        await channel.exchange_declare(name, exchange_type="topic", durable=True)
    await channel.queue_declare(outside.INBOX, durable=True, arguments=inbox_arguments(channel.connection))
    await channel.queue_bind(outside.INBOX, outside.REQUESTS, "#")


def inbox_arguments(connection: AbstractConnection) -> dict[str, Any]:
    return {
        **quorum_arguments(connection),
        "x-max-length": outside.MOST_REQUESTS,
        "x-max-length-bytes": outside.MOST_REQUEST_BYTES,
        "x-overflow": "reject-publish",
    }


def asking_of(delivered: DeliveredMessage) -> Asking:
    told, headers = delivered.header.properties, headers_of(delivered)
    deliveries = headers.get(_DELIVERIES)
    return Asking(
        user=told.user_id,
        key=delivered.routing_key or "",
        message_id=told.message_id or "",
        headers=headers,
        content_type=told.content_type,
        content_encoding=told.content_encoding,
        body=delivered.body,
        redelivered=bool(delivered.redelivered),
        deliveries=deliveries if isinstance(deliveries, int) else 0,
    )


class Inbox(Receiver):
    """Hands out what is asked, several at once: nobody is promised an order."""

    def __init__(self, answering: Answering, link: Link, on_close: Callable[[Worked], None]) -> None:
        super().__init__("what is asked outside", outside.INBOX, link, on_close)
        self._answering = answering

    async def _begin(self) -> Session:
        async with beginning(Session(await self._link.channel(), prefetch=PREFETCH), self._link.shown) as session:
            await declare(session.channel)  # Somebody may have deleted it: what comes next is to find it again.
            await session.channel.basic_qos(prefetch_count=PREFETCH)
            await session.consume(self.queue)
        return session

    async def _work(self) -> None:
        while (session := await self._usable()) is not None and not self._closing:
            await session.wait()
            for delivered in session.take(1):
                await self._answer(session, delivered)

    async def _answer(self, session: Session, delivered: DeliveredMessage) -> None:
        try:
            with self._handling():
                await self._answering(asking_of(delivered))
        except VoxloomError as error:
            log.warning("what was asked outside comes again: %s", error, extra=waiting(error))
            session.lose()
            await asyncio.sleep(AGAIN_SECS)
        else:
            session.tags.settle(delivered.delivery_tag or 0)
            await session.acknowledge()


def _letter(message: Message) -> Letter:
    check_message(message)
    return Letter(outside.EVENTS, message.routing_keys[0], properties(message), message.body)


def _forget(_: Worked) -> None:
    """Its owner closes it."""
