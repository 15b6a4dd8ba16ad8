"""What one gateway has answered, the next one knows: a request is served once all that was said before it is heard."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from services.gateway.http.front import front_of
from services.gateway.http.problems import Handler
from voxloom.errors import BusUnavailable

FRESH_SECS = 2.0
"""Beyond, a client is told what is known."""

log = logging.getLogger("voxloom.gateway")


@web.middleware
async def be_fresh(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith("/api/"):
        try:
            async with asyncio.timeout(FRESH_SECS):
                await front_of(request).catch_up()
        except (BusUnavailable, TimeoutError) as error:
            log.debug("%s %s may be told what is no longer so: %s", request.method, request.path, error)
    return await handler(request)
