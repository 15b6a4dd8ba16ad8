"""Ports that are left in order."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

_TURNS = 2
"""Of the loop, until a connection that was accepted is known to its server."""


class OrderlySite(web.BaseSite):
    """Loses no connection when it stops: nobody new comes in, and who came in last is known to the server before it is
    closed. In asyncio a connection of the same turn as `Server.close` is neither served nor closed, and nobody hears of
    it."""

    async def stop(self) -> None:
        loop = asyncio.get_running_loop()
        server = cast("asyncio.Server | None", self._server)
        for listening in server.sockets if server is not None else ():
            loop.remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await super().stop()


class Site(OrderlySite, web.TCPSite):
    """A TCPSite of that kind."""
