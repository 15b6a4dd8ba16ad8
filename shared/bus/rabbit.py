"""The bus of many machines: RabbitMQ, from 3.10 on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from messages.base import Event, WantsData
from messages.wire import Message, encode
from shared.bus.amqp.address import parse
from shared.bus.amqp.codec import frame_bytes
from shared.bus.amqp.engine import Running
from shared.bus.amqp.failures import closed
from shared.bus.amqp.readers import start_of
from shared.bus.base import (
    Bus,
    DeadLetter,
    Following,
    Handler,
    LiveHandler,
    Queue,
    QueueStats,
    StreamHandler,
    Subscription,
    everything,
)
from voxloom.errors import InvalidInput, VoxloomError

# What aiormq says about connections and channels, this adapter says itself, once and in plain words.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


log = logging.getLogger("voxloom.bus")


class RabbitBus(Bus):
    """Publishing has a connection of its own, so that a broker which takes nothing from publishers still lets
    consumers settle. Both come back by themselves; what was confirmed is kept, what was not is said again.

    A publish that raised because it took too long may still arrive later.
    """

    def __init__(self, url: str, *, stream_hours: float = 24.0, stream_bytes: int = 1 << 30) -> None:
        """`url`: amqp:// or amqps://, with user, password and vhost. The stream keeps `stream_hours`, in
        `stream_bytes` at most; who declares it first decides. Raises Misconfigured."""
        self._address = parse(url)
        self._stream_hours = stream_hours
        self._stream_bytes = stream_bytes
        self._at_work: Running | None = None
        self._changing = asyncio.Lock()

    @property
    def _running(self) -> Running:
        if self._at_work is None:
            raise closed()
        return self._at_work

    async def open(self) -> None:
        """One try. Raises Misconfigured where another one cannot help."""
        async with self._changing:
            if self._at_work is None:
                running = Running(self._address, self._stream_hours, self._stream_bytes)
                await running.open()
                self._at_work = running

    async def close(self) -> None:
        """Handlers end and may still publish."""
        async with self._changing:
            if self._at_work is not None:
                try:
                    await self._at_work.close()
                finally:
                    self._at_work = None

    async def publish(self, *events: Event) -> None:
        for event in events:
            if event.transient:
                raise InvalidInput(f"{event.type_name} is a live event; announce it instead.")
        await self._running.publish([encode(event) for event in events])

    async def publish_message(self, message: Message) -> None:
        if frame_bytes(message.headers) is None:
            raise InvalidInput("The message's headers have what AMQP has no type for; send texts and numbers.")
        await self._running.publish([message])

    def announce(self, event: Event) -> None:
        if self._at_work is not None:
            try:
                self._at_work.announce(encode(event))
            except VoxloomError as error:
                log.warning("live news of %s is lost: %s", event.subject, error.message)

    async def declare(self, *queues: Queue) -> None:
        await self._running.declare(queues)

    async def consume(self, queue: Queue, handler: Handler) -> Subscription:
        return await self._running.consume(queue, handler)

    async def follow(
        self,
        handler: StreamHandler,
        *,
        after: int | None = None,
        since: datetime | None = None,
        on_loss: Callable[[], None] | None = None,
        wanted: WantsData = everything,
    ) -> Following:
        return await self._running.follow(handler, start_of(after, since), on_loss, wanted)

    async def listen(self, patterns: Sequence[str], handler: LiveHandler, *, limit: int = 10_000) -> Subscription:
        return await self._running.listen(patterns, handler, limit)

    async def delete_queue(self, name: str) -> None:
        await self._running.delete_queue(name)

    async def stats(self, *also: str) -> list[QueueStats]:
        return await self._running.stats(also)

    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        return await self._running.graveyard.list(limit)

    async def replay(self, *dead_letter_ids: str) -> set[str]:
        return await self._running.graveyard.replay(dead_letter_ids)

    async def healthy(self) -> bool:
        return self._at_work is not None and await self._at_work.healthy()
