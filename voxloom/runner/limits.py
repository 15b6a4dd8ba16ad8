"""When the system starts no more processes: what it says of that, in words of ours."""

from __future__ import annotations

import errno

NO_PROCESS = "out_of_processes"


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
