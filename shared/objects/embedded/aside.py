"""What the store does beside what it is asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from voxloom.errors import StoreUnavailable

log = logging.getLogger("voxloom.objects")


async def end(task: asyncio.Task[None] | None) -> None:
    if task is None:
        return
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        log.error("the side task %s had died", task.get_name(), exc_info=outcome)


async def whatever(work: Awaitable[object], what: str) -> None:
    """For what can wait until the next time."""
    try:
        await work
    except StoreUnavailable as error:
        log.warning("the object store could not %s: %s", what, error)
