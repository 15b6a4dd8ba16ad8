"""The bytes of one object in a file of this machine. Everything here blocks and belongs into a thread."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from shared.objects.base import CHUNK
from shared.objects.disk.failures import closed
from voxloom.errors import StoreUnavailable


class BlobReader:
    """A stretch of an open file, which stays as it is when the object is replaced or deleted."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDONLY)
        self._lock = Lock()

    def read(self, start: int, stop: int) -> list[bytes]:
        """The bytes from `start` up to `stop`, in pieces of CHUNK."""
        with self._lock:
            if self._descriptor is None:
                raise closed()
            bounds = ((at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK))
            return [_read_all(self._descriptor, first, last) for first, last in bounds]

    def send(self, socket: int, start: int, stop: int) -> int:
        """How many bytes a socket that does not block took."""
        sent = 0
        with self._lock:
            if self._descriptor is None:
                raise closed()
            while start + sent < stop:
                try:
                    count = os.sendfile(socket, self._descriptor, start + sent, stop - start - sent)
                except BlockingIOError:
                    break
                if not count:
                    raise _too_short()
                sent += count
        return sent

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _read_all(descriptor: int, start: int, stop: int) -> bytes:
    piece = os.pread(descriptor, stop - start, start)
    if len(piece) < stop - start:
        raise _too_short()
    return piece


def _too_short() -> StoreUnavailable:
    return StoreUnavailable("The file of an object is shorter than it was when it was stored; look at the disk.")
