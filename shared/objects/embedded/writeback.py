"""Getting bytes to the disk early, so that little is left to wait for when they have to be there.

The kernel keeps what was written for many seconds before it begins to write it to the disk. Told to begin at once, the
disk works while the next bytes arrive, and the fsync at the end has little to do. Where the kernel cannot be told so,
the fsync does it all.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

WINDOW = 8 << 20
"""Bytes that are handed to the disk at once."""

BEHIND = 256 << 20
"""Bytes of one file that may be on their way to the disk; who writes faster than that waits."""

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_AT_ONCE = 8
_MANY = 4 * _AT_ONCE
_CANNOT = {errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ESPIPE}

_sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Writeback:
    """Of one file that grows at its end. Raises OSError when the disk could not take what was written earlier."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = 0
        self._begun = 0

    def grown_by(self, size: int) -> None:
        self._written += size
        while self._written - self._begun >= WINDOW:
            _sync_range(self._descriptor, self._begun, WINDOW, _WRITE)
            if self._begun >= BEHIND:
                _sync_range(self._descriptor, self._begun - BEHIND, WINDOW, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
            self._begun += WINDOW


def begin(descriptor: int) -> None:
    """The disk begins to write the whole file, and nobody waits for it."""
    _sync_range(descriptor, 0, 0, _WRITE)


def sync_files(paths: Sequence[str]) -> None:
    """When it returns, what is in the files is there after a crash too. Many are waited for at the same time: the file
    system then brings several to the disk in one go."""
    if len(paths) < _MANY:
        _sync_each(paths)
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects.sync") as pool:
        for _ in pool.map(_sync_each, (paths[first::_AT_ONCE] for first in range(_AT_ONCE))):
            pass


def _sync_each(paths: Sequence[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_range(descriptor: int, start: int, length: int, how: int) -> None:
    if _sync_file_range is None or _sync_file_range(descriptor, start, length, how) == 0:
        return
    number = ctypes.get_errno()
    if number not in _CANNOT:
        raise OSError(number, os.strerror(number))
