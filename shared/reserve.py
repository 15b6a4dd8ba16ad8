"""A file that takes up room until the room is needed. Everything here blocks and belongs into a thread."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_PIECE = 1 << 20
_CANNOT = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP}


class Reserve:
    def __init__(self, file: Path) -> None:
        self._file = file

    def held(self) -> int:
        """Bytes of the disk that it really has. Raises OSError."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return 0
        return min(found.st_size, found.st_blocks * 512)

    def fill(self, size: int) -> None:
        """Makes it `size` bytes large; where there is not so much room it stays as it was. Raises OSError."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                _allocate(descriptor, size)
                os.ftruncate(descriptor, size)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)

    def give_up(self, size: int) -> None:
        """So much of it, or what is left. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._file, max(0, self._file.stat().st_size - size))


def _allocate(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except AttributeError:  # macOS has no such call.
        _write(descriptor, size)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        _write(descriptor, size)


def _write(descriptor: int, size: int) -> None:
    """Random bytes: some file systems keep nothing of zeros."""
    for start in range(0, size, _PIECE):
        os.pwrite(descriptor, os.urandom(min(_PIECE, size - start)), start)
