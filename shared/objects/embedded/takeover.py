"""How a file that somebody has written becomes one of the store's: as it is where nobody can change it any more, else
as a copy. Everything here blocks.

Who still has the file open, or mapped into memory, could write to it long after it was stored. Linux tells: it gives a
write lease on a file to somebody only if nobody else has it open, and takes it back once somebody opens it.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

from shared.copying import copy_bytes
from shared.objects.disk.placing import READ_ONLY
from shared.objects.embedded.writeback import begin
from voxloom.regular import opened


def bring(source: Path, target: Path, *, settled: bool) -> None:
    """A regular file comes to `target`, and is on its way to the disk; `source` stays. `settled`: nobody can change it,
    whatever other names it has. Raises FileNotFoundError."""
    with opened(source) as descriptor:  # Its end ends the lease, too.
        if _is_linked(source, target, descriptor, settled=settled):
            os.fchmod(descriptor, READ_ONLY)
            if settled or _is_leased(descriptor):
                begin(descriptor)
                return
            target.unlink()
        _copy(descriptor, target)


def _is_linked(source: Path, target: Path, descriptor: int, *, settled: bool) -> bool:
    if not settled and not _is_nobody_elses(descriptor):
        return False
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # Another file system, or one without links.
        return False
    if os.path.samestat(os.lstat(target), os.fstat(descriptor)):
        return True
    target.unlink()  # Somebody has put another file in its place just now.
    return False


def _is_nobody_elses(descriptor: int) -> bool:
    """Whether the file has one name, and nobody else has it open. If so, that is kept an eye on: see `_is_leased`."""
    if os.fstat(descriptor).st_nlink != 1 or not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        # Who opens the file from now on has a signal sent to us. The usual one would end the process; this one nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:  # It is open elsewhere, or its file system has no leases.
        return False
    return True


def _is_leased(descriptor: int) -> bool:
    """Whether nobody has opened it meanwhile."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_WRLCK


def _copy(source: int, target: Path) -> None:
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        copy_bytes(source, copy)
        os.fchmod(copy, READ_ONLY)
        begin(copy)
    finally:
        os.close(copy)
