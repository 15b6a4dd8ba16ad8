"""The lock on a folder that one process at a time may use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from voxloom.errors import Misconfigured

InUse = Callable[[Path], Misconfigured]
"""What is said where another process has the folder."""


def lock(folder: Path, in_use: InUse) -> int:
    """A descriptor: the folder is ours until it is closed, or the process ends. Raises OSError, and what `in_use`
    makes."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise in_use(folder) from None
    return descriptor


@contextmanager
def held(folder: Path, in_use: InUse) -> Iterator[None]:
    """Has the lock for a while, without opening anything else in the folder."""
    descriptor = lock(folder, in_use)
    try:
        yield
    finally:
        os.close(descriptor)
