"""When the system starts no more processes, or its disk is full: what it says of that, in words of ours."""

from __future__ import annotations

import errno
import os

NO_PROCESS = "out_of_processes"
DISK_FULL = "storage_full"


def is_no_process(error: BaseException) -> bool:
    """What a fork, a subprocess and a thread raise that the system refuses."""
    if isinstance(error, BlockingIOError):
        return error.errno == errno.EAGAIN and error.filename is None
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def no_process(message: str) -> str:
    return (
        "The system starts no more processes or threads for this run. Use fewer of them, or have an operator raise "
        f"what the worker may have: `ulimit -u`, systemd's TasksMax, a container's pids limit. ({message})"
    )


def is_disk_full(error: BaseException) -> bool:
    """HDF5 tells of it in the text alone, at times."""
    if not isinstance(error, OSError | RuntimeError):
        return False
    told = error.errno if isinstance(error, OSError) else None
    return told in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def disk_full(message: str) -> str:
    return (
        "The disk of the worker is full. Delete files or records (`voxloom rm`), or have an operator make room there; "
        f"then run it again. ({message})"
    )
