"""Errors of the disk and the database, told as errors of ours: the one place."""

from __future__ import annotations

from pathlib import Path

from shared.fulldisk import is_full
from shared.sealed.watch import SAID, Gone
from voxloom.errors import BusFull, BusUnavailable, Misconfigured

_FORBIDDEN = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


def unavailable(error: Exception) -> BusUnavailable:
    """What to tell the caller. It has no path in it: it may reach people outside."""
    kind = BusFull if is_full(error) else BusUnavailable
    told = kind(SAID if isinstance(error, Gone) else f"The bus {_reason(error)}; then try again.")
    told.__cause__ = error
    return told


def closed() -> BusUnavailable:
    return BusUnavailable("The bus is not open; try again once the server has started.")


def unusable(folder: Path, error: Exception) -> Misconfigured:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return Misconfigured(
        f"The bus cannot use the folder {folder} ({reason}); make it writable for this user, or choose another --data."
    )


def in_use(folder: Path) -> Misconfigured:
    return Misconfigured(f"The folder {folder} is in use by another Voxloom; stop that one, or choose another --data.")


def newer(folder: Path, error: Exception) -> Misconfigured:
    return Misconfigured(
        f"The journal in {folder} was written by a newer Voxloom ({error}); upgrade this one, or choose another --data."
    )


def _reason(error: Exception) -> str:
    if is_full(error):
        return "has no room left: free some space on its disk, or delete files (`voxloom rm files ID...`)"
    name = str(getattr(error, "sqlite_errorname", "")) or type(error).__name__
    if name.startswith(_FORBIDDEN):
        return "may not write its journal: give the server's user the right to"
    return f"cannot use its journal ({name}): look at the disk and at the server's log"
