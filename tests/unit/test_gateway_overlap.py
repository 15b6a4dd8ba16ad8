"""How far back a gateway reads, where the broker's clock is another than its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from messages.base import Event
from services.gateway.views.overlap import OVERLAP, overlap_with
from shared.bus.base import Following
from tests.each import each
from tests.unit.memory_platform import NotingBus
from voxloom.values import utc_now


class Reading(Following):
    """It has had all that there was when it is there."""

    @property
    def alive(self) -> bool:
        return True

    async def catch_up(self) -> None: ...

    async def close(self, *, drain: float = 10.0) -> None: ...


class Behind(NotingBus):
    """A stream whose clock is behind by so much. Where it has not reached a time yet, it begins with what is new."""

    def __init__(self, behind: timedelta) -> None:
        super().__init__()
        self._behind = behind
        self._kept: list[tuple[datetime, Event]] = []

    async def publish(self, *events: Event) -> None:
        self._kept += [(utc_now() - self._behind, event) for event in events]

    async def follow(self, handler: Any, *, since: datetime | None = None, **_: Any) -> Following:
        assert since is not None
        found = [(at, event) for at, (time, event) in enumerate(self._kept, start=1) if time >= since]
        if found:
            await handler(found)
        return Reading()


READ_BACK: dict[timedelta, timedelta | None] = {
    timedelta(0): timedelta(seconds=10) + OVERLAP,
    timedelta(seconds=5): timedelta(seconds=10) + OVERLAP,
    timedelta(minutes=-10): timedelta(seconds=10) + OVERLAP,
    timedelta(seconds=30): timedelta(hours=1) + OVERLAP,
    timedelta(hours=5): timedelta(days=1) + OVERLAP,
    timedelta(days=3): None,
}


@each("behind", READ_BACK)
async def test_what_was_said_is_read_however_far_behind_the_brokers_clock_is(behind: timedelta) -> None:
    assert await overlap_with(Behind(behind)) == READ_BACK[behind]
