"""Waiting for what was asked for so lately that the news of it may still be on its way."""

from __future__ import annotations

import asyncio

from voxloom.ids import age_of

YOUNG_SECS = 5.0
"""An unknown id that was made so lately may still be on its way to us."""
VIEW_SECS = 2.0
"""How long a request for such an id waits."""


class Arrivals:
    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def note(self, identity: str) -> None:
        """It is known now."""
        arrival = self._waiting.pop(identity, None)
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    async def expect(self, identity: str) -> bool:
        """Waits for something young that is not known yet; whether it has come."""
        age = age_of(identity)
        if age is None or not -YOUNG_SECS < age < YOUNG_SECS:
            return False
        arrival = self._waiting.get(identity)
        if arrival is None:
            arrival = self._waiting[identity] = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([arrival], timeout=VIEW_SECS)
        if not done:
            self._waiting.pop(identity, None)
        return bool(done)
