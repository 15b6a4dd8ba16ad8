"""Files that hold an object's bytes, sent to a socket without passing through this process."""

from __future__ import annotations

import os
from threading import Lock

from shared.objects.base import ObjectInfo, Sender
from shared.objects.disk.failures import closed
from shared.objects.disk.reading import BlobReader
from shared.objects.disk.threads import Pool


class BlobSender:
    """A file and the socket it goes to, which must not block; these methods do, and belong into a thread. The
    descriptor is the sender's own from now on."""

    def __init__(self, reader: BlobReader, socket: int) -> None:
        self._reader = reader
        self._socket: int | None = socket
        self._lock = Lock()

    def send(self, start: int, stop: int) -> int:
        """How many of the bytes from `start` up to `stop` the socket took before it was full."""
        with self._lock:
            if self._socket is None:
                raise closed()
            return self._reader.send(self._socket, start, stop)

    def close(self) -> None:
        """Waits for the bytes that are being sent: the number of a descriptor that was closed may soon be another's."""
        with self._lock:
            self._reader.close()
            if self._socket is not None:
                os.close(self._socket)
                self._socket = None


class FileSender(Sender):
    """As the port says it; `pool` has the threads that do it."""

    def __init__(self, pool: Pool, info: ObjectInfo, sender: BlobSender) -> None:
        self.info = info
        self._pool = pool
        self._sender = sender

    async def send(self, start: int, stop: int) -> int:
        return await self._pool.run(self._sender.send, start, stop)

    def close(self) -> None:
        self._pool.later(self._sender.close)
