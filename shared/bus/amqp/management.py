"""Questions to the broker, and what becomes of the dead: each on a channel of its own, which a wrong one closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from shared.bus.amqp.codec import dead_letter, home_of, letter_id, message_of, properties_again
from shared.bus.amqp.declarations import DEAD, PARKED
from shared.bus.amqp.failures import NotThere, heeding_cancels, translating
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.link import Link
from shared.bus.amqp.publisher import Publisher
from shared.bus.base import DeadLetter, QueueStats
from voxloom.errors import BusUnavailable, VoxloomError

ASK_SECS = 30.0
CLOSE_SECS = 3.0
_MORE_LOOKS = 2
_LOOK_AGAIN_SECS = 0.2
"""Dead letters that somebody else reads just now are out of sight for so long."""


@asynccontextmanager
async def asking(link: Link) -> AsyncIterator[AbstractChannel]:
    """A channel for one errand. What it has got and not settled goes back when it closes. Raises what `translating`
    does."""
    with heeding_cancels():
        channel = await link.channel()
        try:
            async with asyncio.timeout(ASK_SECS):
                with translating(link.shown):
                    yield channel
                    await channel.close()
        except TimeoutError:
            raise BusUnavailable(f"The broker at {link.shown} does not answer.") from None
        finally:
            await _give_up(channel, link.shown)


async def _give_up(channel: AbstractChannel, shown: str) -> None:
    """Closes a channel on which a call may have been cut off. One that does not close goes with its connection: it must
    not hold up who wants to stop."""
    if channel.is_closed:
        return
    with suppress(VoxloomError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECS):
            with translating(shown):
                await channel.close()


async def stats(link: Link, names: Iterable[str]) -> list[QueueStats]:
    """Of those that are there."""
    found: list[QueueStats] = []
    left = sorted(set(names), reverse=True)
    while left:
        try:
            async with asking(link) as channel:
                while left:
                    found.append(await _stats_of(channel, left.pop()))
        except NotThere:
            continue
    return found


async def _stats_of(channel: AbstractChannel, name: str) -> QueueStats:
    told = await channel.queue_declare(name, passive=True)
    return QueueStats(name, told.message_count or 0, told.consumer_count or 0)


class Graveyard:
    """The dead letters. Only one of us looks at a time: what one has in hand, no other sees."""

    def __init__(self, link: Link, publisher: Publisher) -> None:
        self._link = link
        self._publisher = publisher
        self._looking = asyncio.Lock()

    async def list(self, limit: int) -> list[DeadLetter]:
        """The oldest first."""
        async with self._looking, asking(self._link) as channel:
            letters = [
                dead_letter(one, parked=queue == PARKED)
                for queue in (DEAD, PARKED)
                async for one in _all_in(channel, queue, limit)
            ]
        return sorted(letters, key=lambda letter: letter.time)[:limit]

    async def replay(self, identities: Iterable[str]) -> set[str]:
        """Those that went back. However many they are, one look at the dead is enough."""
        wanted = {one for one in identities if one}
        left = await self._replay(wanted)
        for _ in range(_MORE_LOOKS):
            if left:
                await asyncio.sleep(_LOOK_AGAIN_SECS)
                left = await self._replay(left)
        return wanted - left

    async def _replay(self, wanted: set[str]) -> set[str]:
        """Those that are left."""
        if not wanted:
            return set()
        async with self._looking, asking(self._link) as channel:
            return wanted - await self._give_back(channel, await _found(channel, wanted))

    async def _give_back(self, channel: AbstractChannel, found: Sequence[DeliveredMessage]) -> set[str]:
        """Those whose queues are still there. They leave the dead when they have arrived."""
        there = {one.name for one in await stats(self._link, map(home_of, found))}
        going = [one for one in found if home_of(one) in there]
        await self._publisher.send([_letter_home(one) for one in going])
        for one in going:
            assert one.delivery_tag is not None
            await channel.basic_ack(one.delivery_tag)
        return {letter_id(one) for one in going}


def _letter_home(delivered: DeliveredMessage) -> Letter:
    message = message_of(delivered)
    return Letter("", home_of(delivered), properties_again(message), message.body)


async def _found(channel: AbstractChannel, wanted: set[str]) -> list[DeliveredMessage]:
    """Looks no further than to the last of them."""
    found: dict[str, DeliveredMessage] = {}
    for queue in (DEAD, PARKED):
        async for one in _all_in(channel, queue):
            if letter_id(one) in wanted:
                found.setdefault(letter_id(one), one)
            if len(found) == len(wanted):
                return list(found.values())
    return list(found.values())


async def _all_in(channel: AbstractChannel, queue: str, limit: int | None = None) -> AsyncIterator[DeliveredMessage]:
    """All that waits, or the first so many. They stay out as long as the channel is open."""
    for _ in _counted(limit):
        delivered = await channel.basic_get(queue)
        if isinstance(delivered.delivery, Basic.GetEmpty):
            return
        yield delivered


def _counted(limit: int | None) -> Iterator[int]:
    number = 0
    while limit is None or number < limit:
        yield number
        number += 1
