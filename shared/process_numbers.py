"""Numbers for processes that share a folder: each gets the lowest that is free, and a process that is gone leaves its
own to the next."""

from __future__ import annotations

import fcntl
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from voxloom.errors import Misconfigured


@dataclass(frozen=True)
class Seat:
    number: int
    _lock: int

    def leave(self) -> None:
        os.close(self._lock)


def take(folder: Path) -> Seat:
    """The lowest free number from 1 on, held until it is left or the process ends. Raises Misconfigured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return next(seat for number in itertools.count(1) if (seat := _try(folder, number)) is not None)
    except OSError as error:
        raise Misconfigured(
            f"{folder} cannot be used ({error.strerror}); give it to this user, or choose another folder with --data."
        ) from error


def _try(folder: Path, number: int) -> Seat | None:
    lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Seat(number, lock)
