"""One errand for all who want it done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Together:
    """Whoever calls gets an errand that began after the call; those who call while one is under way share the next."""

    def __init__(self, name: str, errand: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._errand = errand
        self._now: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Raises what the errand raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._now), name=self._name)
            self._next.add_done_callback(_seen)
        await asyncio.shield(self._next)

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._now, self._next = self._next, None
        await self._errand()

    async def close(self) -> None:
        """Gives up what is under way; who waits for it is cancelled."""
        tasks = [task for task in (self._now, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _seen(task: asyncio.Task[None]) -> None:
    """Those who waited may all be gone."""
    if not task.cancelled():
        task.exception()
