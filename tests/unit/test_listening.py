"""Who comes while a server stops."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from services.gateway.http.listener import Listener
from shared.listening import Site


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("gateway", [True, False], ids=["gateway", "others"])
async def test_a_connection_that_comes_while_a_server_stops_is_closed(gateway: bool, turns: int) -> None:
    # Given a server, and somebody who connects some turns of the loop before it stops
    runner = web.AppRunner(web.Application(), shutdown_timeout=1.0)
    await runner.setup()
    site = Listener(runner, "127.0.0.1", 0, most=10) if gateway else Site(runner, "127.0.0.1", 0)
    await site.start()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.connect(runner.addresses[0])
        for _ in range(turns):
            await asyncio.sleep(0)
        # When it stops
        await runner.cleanup()
        # Then they are told
        client.setblocking(True)
        client.settimeout(10.0)
        assert is_over(client)


def is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
