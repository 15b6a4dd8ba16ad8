"""Consumers of queues: batches, their settling, and what goes on to wait or to the dead."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from aiormq.abc import DeliveredMessage

from messages.base import Event
from messages.wire import Message
from shared.bus.amqp.codec import message_of, properties_again, properties_dead, tries_of
from shared.bus.amqp.declarations import DEAD, PARKED, delay_queue
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.link import Link
from shared.bus.amqp.publisher import Publisher
from shared.bus.amqp.receivers import Receiver
from shared.bus.amqp.sessions import Session, beginning
from shared.bus.base import Handler, Queue
from shared.bus.delivery import Again, Dead, Done, Verdict, deliver
from shared.bus.tasks import GivenUp, Worked
from shared.outages import waiting
from voxloom.errors import VoxloomError
from voxloom.models import utc_now

MOST_PREFETCHED = 2000
AGAIN_SECS = 0.5

log = logging.getLogger("voxloom.bus")


def onward(queue: str, message: Message, tries: int, verdict: Verdict, now: datetime) -> Letter | None:
    """Where a message goes that leaves its queue without being done."""
    match verdict:
        case Done():
            return None
        case Again(after):
            return Letter("", delay_queue(queue, after), properties_again(message, tries=tries + 1), message.body)
        case Dead(reason, parked):
            properties = properties_dead(message, queue, reason, now)
            return Letter("", PARKED if parked else DEAD, properties, message.body)


class RabbitDelivery:
    """A message that is out on a session."""

    event: Event | None = None

    def __init__(self, delivered: DeliveredMessage, queue: str, session: Session, publisher: Publisher) -> None:
        self._delivered = delivered
        self._queue = queue
        self._session = session
        self._publisher = publisher

    @functools.cached_property
    def message(self) -> Message:
        return message_of(self._delivered)

    @property
    def tries(self) -> int:
        return tries_of(self._delivered)

    async def settle(self, verdict: Verdict) -> None:
        if self._session.lost:
            return
        letter = onward(self._queue, self.message, self.tries, verdict, utc_now())
        if letter is not None:
            await self._publisher.send([letter])
        if self._delivered.delivery_tag is not None:
            self._session.tags.settle(self._delivered.delivery_tag)


class Consumer(Receiver):
    """Feeds a handler from a queue."""

    def __init__(
        self, spec: Queue, handler: Handler, link: Link, publisher: Publisher, on_close: Callable[[Worked], None]
    ) -> None:
        super().__init__(spec.name, spec.name, link, on_close)
        self._spec = spec
        self._handler = self.guarded(handler)
        self._publisher = publisher

    async def _begin(self) -> Session:
        prefetch = min(MOST_PREFETCHED, 2 * max(self._spec.batch, self._spec.concurrency))
        async with beginning(Session(await self._link.channel(), prefetch=prefetch), self._link.shown) as session:
            await session.channel.basic_qos(prefetch_count=prefetch)
            await session.consume(self.queue)
        return session

    async def _work(self) -> None:
        while (session := await self._usable()) is not None and not self._closing:
            await self._fill(session)
            if batch := session.take(self._spec.batch):
                await self._deliver(session, batch)

    async def _fill(self, session: Session) -> None:
        await session.wait()
        if self._spec.linger and len(session.ready) < self._spec.batch:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._spec.linger):
                    await session.wait(self._spec.batch)

    async def _deliver(self, session: Session, messages: Sequence[DeliveredMessage]) -> None:
        batch = [RabbitDelivery(one, self.queue, session, self._publisher) for one in messages]
        try:
            await deliver(batch, self._handler, self._spec.policy)
        except GivenUp as given_up:
            log.info("what failed last in %s (%s) comes again, here or elsewhere", self.name, given_up.__cause__)
        except VoxloomError as error:
            # All that is out has to come again, or what follows would overtake it.
            log.warning("what %s could not settle comes again: %s", self.name, error, extra=waiting(error))
            session.lose()
            await asyncio.sleep(AGAIN_SECS)
        finally:
            await session.acknowledge()
