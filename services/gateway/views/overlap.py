"""How far back the stream is to be read, where a snapshot says of when it is.

The recorder's clock has written that time, and the broker goes by its own. RabbitMQ's is that of Erlang: when the
clock of its machine is set forward, or the machine was suspended, it stays behind, and makes up for one second in a
hundred. A follower that begins at a time that the broker has not reached yet is given nothing but what is new. So it is
tried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from messages.base import Event
from messages.gateways import GatewayStarted
from shared.bus.base import Bus
from voxloom.ids import new_id
from voxloom.values import utc_now

OVERLAP = timedelta(minutes=3)
"""What clocks that are right may differ by, and what was on its way."""
BEHIND = (timedelta(seconds=10), timedelta(hours=1), timedelta(days=1))
"""By how much at most the broker's clock may be behind; each is tried only where the one before is not enough."""


async def overlap_with(bus: Bus) -> timedelta | None:
    """So much before a time of ours; None: all that there is. Raises BusUnavailable."""
    for behind in BEHIND:
        if await _is_heard_from(bus, behind):
            return behind + OVERLAP
    return None


async def _is_heard_from(bus: Bus, behind: timedelta) -> bool:
    """Whether who begins so long ago hears what is said now."""
    mark, heard = GatewayStarted(subject=new_id()), False

    async def take(events: Sequence[tuple[int, Event]]) -> None:
        nonlocal heard
        heard = heard or any(event.subject == mark.subject for _, event in events)

    await bus.publish(mark)
    following = await bus.follow(take, since=utc_now() - behind, wanted=lambda _kind, _subject: False)
    try:
        await following.catch_up()
    finally:
        await following.close()
    return heard
