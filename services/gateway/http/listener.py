"""The port, and whom it serves: not more at once than there are files to open, and nobody who takes nothing."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from typing import cast

from aiohttp import web

from services.gateway.http.framing import Speaker
from services.gateway.http.problems import problem
from shared.listening import OrderlySite

BACKLOG = 1024
STUCK_SECS = 300
"""A client that takes nothing of its answer for so long, or is not there any more, is cut off by the kernel."""
HANDSHAKE_SECS = 30.0
"""How long a client may take to agree on a cipher."""


class Listener(OrderlySite):
    """Like a TCPSite, with bounds. `most`: connections at a time; the others are told to come again."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, *, most: int, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._tls = tls
        self._host = host
        self._port = port
        self._most = most

    @property
    def name(self) -> str:
        return f"{self.scheme}://{self._host}:{self.port}"

    @property
    def scheme(self) -> str:
        return "http" if self._tls is None else "https"

    @property
    def port(self) -> int:
        """The one that was taken, where any would do."""
        server = cast("asyncio.Server | None", self._server)
        return int(server.sockets[0].getsockname()[1]) if server else self._port

    async def start(self) -> None:
        """Raises OSError."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._meet,
            self._host or None,
            self._port,
            backlog=self._backlog,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECS if self._tls is not None else None,
        )
        for listening in server.sockets:
            # Connections inherit it. Not every system has it.
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_SECS * 1000)
        self._server = server

    def _meet(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= self._most:
            return _Full()
        # As the server itself makes them, but for the class.
        return Speaker(server, loop=asyncio.get_running_loop(), **server._kwargs)


class _Full(asyncio.Protocol):
    """Says that there is no room, in a few bytes, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.Transport", transport)
        writing.write(_NO_ROOM)
        writing.close()


def _no_room() -> bytes:
    answer = problem(503, "server_busy", "Too many connections are open; try again in a moment.", retryable=True)
    body = cast("bytes", answer.body)
    head = "\r\n".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "Content-Length")
    head = f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


_NO_ROOM = _no_room()


def most_connections() -> int:
    """Half of the files that this process may have open: stores and processes need some, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft // 2)
