"""Tasks that do one job together, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec

P = ParamSpec("P")


class Crew:
    def __init__(self, name: str, at_once: int) -> None:
        self._name = name
        self._at_once = at_once
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, work: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Waits until there is room. Raises what an earlier task has failed with."""
        while len(self._tasks) >= self._at_once:
            await self._some(asyncio.FIRST_COMPLETED)
        self._tasks.add(asyncio.create_task(_do(work(*args, **kwargs)), name=self._name))

    async def finish(self) -> None:
        while self._tasks:
            await self._some(asyncio.FIRST_EXCEPTION)

    async def stop(self) -> None:
        """Returns when no task is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _some(self, how: str) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=how)
        for task in done:
            task.result()
        self._tasks -= done


@asynccontextmanager
async def crew(name: str, at_once: int) -> AsyncIterator[Crew]:
    """When the block is left, all tasks have ended; the first one to fail ends the others, and its error is raised."""
    made = Crew(name, at_once)
    try:
        yield made
        await made.finish()
    finally:
        await made.stop()


async def _do(work: Awaitable[None]) -> None:
    await work
