"""What one gateway has answered, the next one knows: a request is served once all that was said before it is heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from services.gateway.http.front import Front
from voxloom.errors import BusUnavailable

FRESH_SECS = 2.0
"""Beyond, a client is told what is known."""

log = logging.getLogger("voxloom.gateway")


def is_fresh(request: web.Request, front: Front) -> bool:
    """Whether the request need not wait for that."""
    return front.is_caught_up() or not request.path.startswith("/api/")


async def be_fresh(request: web.Request, front: Front) -> None:
    if (why := await why_behind(front.catch_up)) is not None:
        log.debug("%s %s may be told what is no longer so: %s", request.method, request.path, why)


async def why_behind(catch_up: Callable[[], Awaitable[None]]) -> Exception | None:
    """None: all that was said before is heard. Else what has kept us from it."""
    try:
        async with asyncio.timeout(FRESH_SECS):
            await catch_up()
    except (BusUnavailable, TimeoutError) as error:
        return error
    return None
