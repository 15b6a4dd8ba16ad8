"""Ports that are left in order."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp import web

_TURNS = 2
"""Of the loop, until a connection that was accepted is known to its server."""


class Site(web.TCPSite):
    """A TCPSite that loses no connection when it stops."""

    async def stop(self) -> None:
        await stop_accepting(cast("asyncio.Server | None", self._server))
        await super().stop()


async def stop_accepting(server: asyncio.Server | None) -> None:
    """Nobody new comes in, and who came in last is known to the server: it can be closed now. In asyncio a connection
    of the same turn as `Server.close` is neither served nor closed, and nobody hears of it."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets if server is not None else ():
        loop.remove_reader(listening.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)
