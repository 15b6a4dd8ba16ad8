"""What a client has missed of one run while it, or the gateway it was connected to, was away: read from the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messages.base import Event
from shared.bus.base import Bus
from shared.records.fold import RunState, fold
from voxloom.errors import BusUnavailable

FURTHEST = 500_000
"""Events back that are still read: beyond, a client is told how things are now."""
READ_SECS = 10.0


async def missed_statuses(bus: Bus, state: RunState, seen: int, newest: int) -> list[tuple[int, RunState]] | None:
    """Every change of status between the offsets `seen` and `newest`, with the record as it is known now but for the
    status. None where that cannot be told any more, or not now: then a client is told how things are."""
    if not 0 < newest - seen <= FURTHEST:
        return None
    reader = _Reader(state, newest)
    try:
        following = await bus.follow(reader.take, after=seen, wanted=lambda _kind, subject: subject == state.run)
    except BusUnavailable:
        return None
    try:
        async with asyncio.timeout(READ_SECS):
            await reader.done.wait()
    except TimeoutError:
        return None
    finally:
        await following.close(drain=0.0)
    return reader.found


class _Reader:
    """Folds the events of one run anew, up to an offset."""

    def __init__(self, state: RunState, newest: int) -> None:
        self.done = asyncio.Event()
        self.found: list[tuple[int, RunState]] = []
        self._state = state.model_copy(update={"stage": None})
        self._newest = newest

    async def take(self, events: Sequence[tuple[int, Event]]) -> None:
        for offset, event in events:
            if event.subject == self._state.run and offset <= self._newest:
                self._fold(offset, event)
            if offset >= self._newest:
                self.done.set()

    def _fold(self, offset: int, event: Event) -> None:
        before, self._state = self._state, fold(self._state, event)
        if self._state.stage is not before.stage:
            self.found.append((offset, self._state))
