"""Errors of disk and database, told as StoreUnavailable: the one place."""

from __future__ import annotations

import errno
import sqlite3

from shared.fulldisk import is_full
from shared.sealed.watch import SAID, Gone
from voxloom.errors import StoreFull, StoreUnavailable

Failure = OSError | sqlite3.Error
FAILURES = (OSError, sqlite3.Error)

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_SQLITE_FORBIDDEN = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"}


def unavailable(error: Failure, who: str = "The object store") -> StoreUnavailable:
    """What to tell the caller. It has no path in it: it may reach people outside."""
    kind = StoreFull if is_full(error) else StoreUnavailable
    told = kind(SAID if isinstance(error, Gone) else f"{who} {_reason(error)}.")
    told.__cause__ = error
    return told


def closed() -> StoreUnavailable:
    return StoreUnavailable("The object store is not open; try again once the server has started.")


def _reason(error: Failure) -> str:
    if is_full(error):
        return "has no room left; free some space on its disk, or delete files (`voxloom rm files ID...`)"
    if isinstance(error, OSError):
        if error.errno in _FORBIDDEN:
            return "may not write its folder; give the server's user the right to"
        return f"cannot use its disk ({error.strerror or type(error).__name__}); look at the disk and the server's log"
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(tuple(_SQLITE_FORBIDDEN)):
        return "may not write its folder; give the server's user the right to"
    return f"cannot use its database ({name or type(error).__name__}); look at the disk and the server's log"
