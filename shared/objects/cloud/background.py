"""Work that has to be done although nobody waits for its outcome: cleaning up, mostly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from shared.outages import waiting
from voxloom.errors import VoxloomError

log = logging.getLogger("voxloom.objects")


class Aside:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def see_to(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Waits for the work; if the caller is cancelled, it goes on all the same. What fails is logged."""
        await asyncio.shield(self.start(work, what))

    def start(self, work: Coroutine[Any, Any, object], what: str) -> asyncio.Task[None]:
        task = asyncio.create_task(_whatever(work, what), name=f"objects.{what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, within: float) -> None:
        """What has not ended by then is cut off."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _whatever(work: Coroutine[Any, Any, object], what: str) -> None:
    try:
        await work
    except VoxloomError as error:
        log.warning("the object store could not %s: %s", what, error, extra=waiting(error))
