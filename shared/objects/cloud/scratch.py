"""A scratch folder per process: made when the store is opened, and removed by the next one if its process died.

scratch/<name>/         files on their way in or out
scratch/<name>.lock     locked by the process whose folder it is
scratch/lock            locked for the moment in which folders are made or found dead
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEAD = "dead-"


class Scratch:
    """Everything but `path` blocks."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / secrets.token_hex(8)
        self._lock: int | None = None

    def open(self) -> None:
        """Makes the folder, empty. Raises OSError."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(self._root):
            self._bury_the_dead()
            self._lock = _locked(self._lock_path)
            self.path.mkdir(mode=0o700)
        for dead in self._root.glob(f"{_DEAD}*"):
            shutil.rmtree(dead, ignore_errors=True)

    def close(self) -> None:
        if self._lock is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def _bury_the_dead(self) -> None:
        """What is theirs is out of the way at once, and removed later: that may take long."""
        for path in self._root.glob("*.lock"):
            descriptor = _locked(path)
            if descriptor is None:
                continue
            folder = path.with_suffix("")
            if folder.exists():
                folder.rename(folder.with_name(f"{_DEAD}{secrets.token_hex(8)}"))
            path.unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """A descriptor with the lock; None: somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
