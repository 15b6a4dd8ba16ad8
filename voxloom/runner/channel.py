"""The runner's end of the private socket: whole frames, sent from any thread, read by one."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from typing import NoReturn

from voxloom.runner import children, frames

LOST_SOCKET = 71
"""The exit code of a runner whose socket was closed by the author's code; the worker is still there."""


_LAST_SECS = 2.0
"""For the end of what runs have started, where the worker is gone. What is left then has another to end it."""


class ChannelClosed(ConnectionError):
    """There is nobody to talk to: the worker is gone, or this is a child process of the runner."""


class Channel:
    """Owns the socket. A forked child has no part in it: there, everything raises ChannelClosed."""

    def __init__(self, sock: socket.socket) -> None:
        sock.set_inheritable(False)
        sock.setblocking(True)
        self._socket: socket.socket | None = sock
        self._lock = threading.Lock()

    def send(self, frame: frames.ToWorker) -> None:
        data = frames.pack(frame)
        with self._lock:
            if self._socket is None:
                raise ChannelClosed
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise ChannelClosed from error

    def receive(self) -> frames.ToRunner:
        """The next frame; waits for it. Raises ChannelClosed at the end, BrokenFrame for rubbish."""
        length = frames.length_of(self._exactly(frames.LENGTH.size))
        return frames.parse_for_runner(self._exactly(length))

    def disown(self) -> None:
        """To be called in a forked child: lets go of the socket without a word."""
        self._lock = threading.Lock()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exactly(self, size: int) -> bytes:
        if self._socket is None:
            raise ChannelClosed
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(size - len(parts))
            except OSError as error:
                raise ChannelClosed from error
            if not part:
                raise ChannelClosed
            parts += part
        return bytes(parts)


def die(error: ChannelClosed | None = None) -> NoReturn:
    """Ends this process at once: with its children, where it leads their process group and the worker is gone."""
    if isinstance(error, ChannelClosed) and getattr(error.__cause__, "errno", None) == errno.EBADF:
        os._exit(LOST_SOCKET)
    if os.getpgrp() == os.getpid():
        children.end_all(seconds=_LAST_SECS)
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
