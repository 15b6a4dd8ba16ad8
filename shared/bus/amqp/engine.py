"""The adapter between open and close: its connections, what it has declared, who receives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aiormq.abc import AbstractConnection

from messages.base import WantsData
from messages.wire import Message
from shared.bus.amqp.address import Address
from shared.bus.amqp.channel_writer import check_library
from shared.bus.amqp.codec import properties
from shared.bus.amqp.consumers import Consumer
from shared.bus.amqp.declarations import EVENTS, LIVE, declare_base, declare_queue, delay_queue
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.link import Link
from shared.bus.amqp.management import Graveyard, asking, stats
from shared.bus.amqp.publisher import Publisher
from shared.bus.amqp.readers import Follower, Listener, Start
from shared.bus.amqp.receivers import Receiver
from shared.bus.base import Handler, LiveHandler, Queue, QueueStats, StreamHandler
from shared.bus.limits import check_message
from shared.bus.tasks import Worked
from shared.outages import Outage, waiting
from voxloom.errors import BusUnavailable, VoxloomError

WATCH_SECS = 5.0

R = TypeVar("R", bound=Receiver)

log = logging.getLogger("voxloom.bus")


class Running:
    def __init__(self, address: Address, stream_hours: float, stream_bytes: int) -> None:
        self._stream = (stream_hours, stream_bytes)
        self._declared: dict[str, Queue] = {}
        self._receivers: set[Worked] = set()
        outage = Outage(log, "the broker cannot be used", "the broker can be used again", BusUnavailable)
        self._out = Link(address, "publishes", outage, self._prepare)
        self._in = Link(address, "receives", outage, self._prepare)
        self._publisher = Publisher(self._out, address.shown, outage)
        self.graveyard = Graveyard(self._in, self._publisher)
        self._watchdog: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._out.open()
        try:
            await self._in.open()
        except BaseException:
            await self._out.close()
            raise
        self._publisher.start()
        self._watchdog = asyncio.create_task(self._watch(), name="bus.watchdog")

    async def close(self) -> None:
        try:
            await asyncio.gather(*(receiver.close() for receiver in tuple(self._receivers)))
        finally:
            if self._watchdog is not None:
                self._watchdog.cancel()
                await asyncio.gather(self._watchdog, return_exceptions=True)
            await self._publisher.close()
            await asyncio.gather(self._out.close(), self._in.close())

    async def healthy(self) -> bool:
        if not (self._in.connected and all(receiver.alive for receiver in self._receivers)):
            return False
        return await self._out.answers()

    # --- out ---

    async def publish(self, messages: Sequence[Message]) -> None:
        await self._publisher.send([_letter(EVENTS, message) for message in messages])

    def announce(self, message: Message) -> None:
        self._publisher.announce(_letter(LIVE, message, persistent=False))

    # --- queues ---

    async def _prepare(self, connection: AbstractConnection) -> None:
        """Whatever is published over this connection finds all queues that it is for, also at a broker that has lost
        them."""
        channel = await connection.channel(publisher_confirms=False)
        check_library(channel)
        hours, size = self._stream
        await declare_base(channel, hours=hours, size=size)
        for queue in tuple(self._declared.values()):
            await declare_queue(channel, queue)
        await channel.close()

    async def declare(self, queues: Iterable[Queue]) -> None:
        for queue in queues:
            async with asking(self._in) as channel:
                await declare_queue(channel, queue)
            self._declared[queue.name] = queue

    async def delete_queue(self, name: str) -> None:
        known = self._declared.pop(name, None)
        delays = known.policy.delays or () if known else ()
        async with asking(self._in) as channel:
            for one in (name, *(delay_queue(name, delay) for delay in delays)):
                await channel.queue_delete(one)
        for receiver in tuple(self._receivers):
            if isinstance(receiver, Consumer) and receiver.queue == name:
                receiver.end_for_good()

    async def stats(self, also: Iterable[str]) -> list[QueueStats]:
        return await stats(self._in, (*self._declared, *also))

    # --- in ---

    async def consume(self, queue: Queue, handler: Handler) -> Consumer:
        await self.declare([queue])
        consumer = Consumer(queue, handler, self._in, self._publisher, self._receivers.discard)
        return await self._begun(consumer, max(1, queue.concurrency))

    async def follow(
        self, handler: StreamHandler, start: Start, on_loss: Callable[[], None] | None, wanted: WantsData
    ) -> Follower:
        return await self._begun(Follower(handler, start, on_loss, wanted, self._in, self._receivers.discard))

    async def listen(self, patterns: Sequence[str], handler: LiveHandler, limit: int) -> Listener:
        return await self._begun(Listener(patterns, handler, limit, self._in, self._receivers.discard))

    async def _begun(self, receiver: R, tasks: int = 1) -> R:
        await receiver.begin(tasks)
        self._receivers.add(receiver)
        return receiver

    # --- watching ---

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECS)
            for receiver in tuple(self._receivers):
                if isinstance(receiver, Receiver):
                    await self._verify(receiver)

    async def _verify(self, receiver: Receiver) -> None:
        try:
            await receiver.verify(self._consumers_of)
        except VoxloomError as error:
            log.warning(
                "it is not known whether the broker still serves %s: %s", receiver.name, error, extra=waiting(error)
            )

    async def _consumers_of(self, queue: str) -> int:
        return sum(one.consumers for one in await stats(self._in, [queue]))


def _letter(exchange: str, message: Message, *, persistent: bool = True) -> Letter:
    """Raises TooLarge or InvalidInput for what no broker would take: it would close the channel under all others."""
    check_message(message)
    return Letter(exchange, message.routing_keys[0], properties(message, persistent=persistent), message.body)
