"""Messages on their way to the broker: in order, many to one write, until each is confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from aiormq.abc import AbstractChannel

from shared.bus.amqp import channel_writer
from shared.bus.amqp.confirms import Confirms
from shared.bus.amqp.failures import AMQP_ERRORS, heeding_cancels
from shared.bus.amqp.frames import straight_of
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.link import Link
from shared.outages import Outage
from voxloom.errors import BusUnavailable

PUBLISH_SECS = 30.0
"""How long a publish may take, with all the tries that a broker which goes and comes back costs."""
AT_ONCE = 200
"""Messages in one write."""
BYTES_AT_ONCE = 4 << 20
AGAIN_SECS = 0.05
LIVE_KEPT = 10_000
"""Live events that wait while the broker takes none; beyond, the oldest go."""

log = logging.getLogger("voxloom.bus")


def portion(letters: Sequence[Letter]) -> Sequence[Letter]:
    """As many from the first on as go out in one write."""
    size = 0
    for count, letter in enumerate(letters[:AT_ONCE]):
        size += len(letter.body)
        if count and size > BYTES_AT_ONCE:
            return letters[:count]
    return letters[:AT_ONCE]


class Publisher:
    """`send` for what must be kept, `announce` for what may be lost."""

    def __init__(self, link: Link, shown: str, outage: Outage, *, insists: bool = True) -> None:
        """`insists`: what the broker refuses is sent again. It refuses what only one of many queues has no room for,
        and all others have got: queues of strangers must not hold up those of others."""
        self._insists = insists
        self._link = link
        self._shown = shown
        self._outage = outage
        self._channel: tuple[AbstractChannel, Confirms] | None = None
        self._opening = asyncio.Lock()
        self._live: deque[Letter] = deque(maxlen=LIVE_KEPT)
        self._live_waits = asyncio.Event()
        self._announcer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._announcer = asyncio.create_task(self._keep_announcing(), name="bus.announcer")

    async def close(self) -> None:
        if self._announcer is not None:
            self._announcer.cancel()
            await asyncio.gather(self._announcer, return_exceptions=True)

    async def send(self, letters: Sequence[Letter]) -> None:
        """Returns when all are confirmed. What was not is repeated, from the first such on, so that the order stays;
        some may then arrive twice. Raises BusUnavailable: they may be kept, or may be kept yet."""
        left = list(letters)
        with heeding_cancels():
            await self._send(left)

    async def _send(self, left: list[Letter]) -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECS):
                while left:
                    left = left[await self._try(portion(left)) :]
        except TimeoutError:
            error = BusUnavailable(
                f"The broker at {self._shown} has not confirmed what was said within {PUBLISH_SECS:g} s; "
                "it is gone, or takes nothing because it is short of memory or disk."
            )
            self._outage.failed(error, self._link.purpose)
            raise error from None
        self._outage.over(self._link.purpose)

    async def _try(self, letters: Sequence[Letter]) -> int:
        """How many of them, from the first on, are confirmed now."""
        channel, confirms = await self._confirming()
        confirmed, error = 0, "it has refused them, or the connection was lost"
        try:
            confirmed = await (await channel_writer.write(channel, letters, confirms))
        except AMQP_ERRORS as failure:
            error = str(failure)
        if confirmed < len(letters):
            reason = f"it has not confirmed {len(letters) - confirmed} messages ({error})"
            self._outage.failed(reason, self._link.purpose)
            await asyncio.sleep(AGAIN_SECS)
        return confirmed

    async def _confirming(self) -> tuple[AbstractChannel, Confirms]:
        async with self._opening:
            if self._channel is None or self._channel[0].is_closed:
                channel = await self._link.channel(confirms=True, within=PUBLISH_SECS)
                self._channel = channel, straight_of(channel).confirms_of(channel, insists=self._insists)
            return self._channel

    def announce(self, letter: Letter) -> None:
        self._live.append(letter)
        self._live_waits.set()

    async def _keep_announcing(self) -> None:
        while True:
            await self._live_waits.wait()
            try:
                channel = await self._link.channel()
                await self._announce_over(channel)
            except (BusUnavailable, *AMQP_ERRORS) as error:
                log.debug("live events wait, or go: %s", error)
                await asyncio.sleep(AGAIN_SECS)

    async def _announce_over(self, channel: AbstractChannel) -> None:
        while not channel.is_closed:
            await self._live_waits.wait()
            self._live_waits.clear()
            while self._live:
                some = [self._live.popleft() for _ in range(min(AT_ONCE, len(self._live)))]
                await channel_writer.write_unconfirmed(channel, some)
