"""How a task tells the client that it has ended, where its system has no results: a datagram on this machine, which the
system knows nothing of. The standard library alone."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import cache

PLACE = "BENCH_BELL"
"""The variable of the environment that says where the client listens."""


@cache
def _sending() -> socket.socket:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(os.environ[PLACE])
    return sender


def ring(number: int) -> None:
    _sending().send(number.to_bytes(8, "big"))


def _listening() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.bind(os.environ[PLACE])
    return listener


class Bell:
    """The client's side, for one that waits."""

    def __init__(self) -> None:
        self._socket = _listening()
        self._heard: set[int] = set()

    def wait(self, number: int) -> None:
        while number not in self._heard:
            self._heard.add(int.from_bytes(self._socket.recv(8), "big"))
        self._heard.remove(number)


class AsyncBell:
    """The client's side, for a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._socket = _listening()
        self._socket.setblocking(False)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._socket, self._hear)

    def expected(self, number: int) -> asyncio.Future[None]:
        future = self._waiting[number] = self._loop.create_future()
        return future

    def _hear(self) -> None:
        self._waiting.pop(int.from_bytes(self._socket.recv(8), "big")).set_result(None)
