"""Errors of disk and database, told as StoreUnavailable: the one place."""

from __future__ import annotations

import errno
import sqlite3

from shared.sealed.watch import SAID, Gone
from voxloom.errors import StoreUnavailable

Failure = OSError | sqlite3.Error
FAILURES = (OSError, sqlite3.Error)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_SQLITE_FULL = {"SQLITE_FULL"}
_SQLITE_FORBIDDEN = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"}


def unavailable(error: Failure) -> StoreUnavailable:
    """What to tell the caller. It has no path in it: it may reach people outside."""
    told = StoreUnavailable(SAID if isinstance(error, Gone) else f"The object store {_reason(error)}.")
    told.__cause__ = error
    return told


def closed() -> StoreUnavailable:
    return StoreUnavailable("The object store is not open; try again once the server has started.")


def _reason(error: Failure) -> str:
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return "has no room left; free some space on its disk"
        if error.errno in _FORBIDDEN:
            return "may not write its folder; give the server's user the right to"
        return f"cannot use its disk ({error.strerror or type(error).__name__}); look at the disk and the server's log"
    name = str(getattr(error, "sqlite_errorname", ""))
    if name in _SQLITE_FULL:
        return "has no room left; free some space on its disk"
    if name.startswith(tuple(_SQLITE_FORBIDDEN)):
        return "may not write its folder; give the server's user the right to"
    return f"cannot use its database ({name or type(error).__name__}); look at the disk and the server's log"
