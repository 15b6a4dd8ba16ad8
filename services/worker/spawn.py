"""Starting a runner process, and what its end means."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping

from voxloom.models import RunError
from voxloom.runner.channel import LOST_SOCKET

_PASSED = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "MKL_NUM_THREADS",
        "MPLCONFIGDIR",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONUNBUFFERED",
        "TMPDIR",
        "TORCH_HOME",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "XDG_CACHE_HOME",
    }
)
_POLL = 0.05
"""Seconds between looks at a process where there is nothing to wait on."""
_LONGEST_TEMP = 50
"""Bytes: with the names of a process, of a pool and of a socket, the 104 that an address may have."""
_PASSED_FAMILIES = ("LC_", "CUDA", "NVIDIA")


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What a runner may see of the worker's environment: no settings of ours, no credentials."""
    return {name: value for name, value in environment.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}


def _make_home() -> str:
    """A new folder for one process's own temporary files, by a name that is short and has no spaces. Raises OSError."""
    base = tempfile.gettempdir()
    fit = len(os.fsencode(base)) <= _LONGEST_TEMP and not any(map(str.isspace, base))
    return tempfile.mkdtemp(prefix="voxloom-", dir=base if fit else "/tmp")  # noqa: S108  # mkdtemp makes it ours alone


def spawn(sock: int, out: int, err: int, memory: int | None) -> tuple[subprocess.Popen[bytes], str]:
    """The process, and the folder of its own that goes with it. Raises OSError."""
    home = _make_home()
    try:
        return _start(sock, out, err, memory, home), home
    except OSError:
        shutil.rmtree(home, ignore_errors=True)
        raise


def _start(sock: int, out: int, err: int, memory: int | None, home: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "voxloom.runner.host", str(sock)]
    if memory is not None:
        command.append(str(memory))
    return subprocess.Popen(  # noqa: S603  # our own module
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        pass_fds=[sock],
        env={**scrubbed(os.environ), "TMPDIR": home},
        cwd="/",
        start_new_session=True,
    )


def has_exited(pid: int) -> bool:
    """Whether a child of ours is over, as far as the system tells without reaping it."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # It has just been reaped.


async def exit_of(process: subprocess.Popen[bytes]) -> None:
    """Waits until the process has ended; where the system allows it, leaves it to be reaped."""
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110  # there is nothing to wait on
            await asyncio.sleep(_POLL)
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(process.pid)

    def on_end() -> None:
        loop.remove_reader(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_end)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def exit_error(returncode: int, *, by_us: bool = False) -> RunError:
    """Why a run failed whose process has ended by itself, by an exit code or (negative) a signal."""
    if returncode == LOST_SOCKET:
        message = "The algorithm has closed a file descriptor of its process that is not its own: close none by number."
        return RunError(type="RunnerBroken", message=message, code="runner_broken")
    if returncode >= 0:
        message = f"The algorithm ended its own process with exit code {returncode}; return from the phases instead."
        return RunError(type="RunnerExited", message=message, code="runner_exited")
    name = _signal_name(-returncode)
    hints: dict[int, str] = {
        signal.SIGSEGV: "a crash in compiled code; the log shows where Python was",
        signal.SIGBUS: "a crash in compiled code, or a full disk or /dev/shm",
        signal.SIGABRT: "compiled code gave up",
        signal.SIGKILL: "the worker ended it" if by_us else "probably the machine ran out of memory",
    }
    hint = hints.get(-returncode, "something outside Voxloom sent it")
    return RunError(
        type="RunnerKilled", message=f"The runner process was killed by {name}: {hint}.", code="runner_killed"
    )


def how(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else _signal_name(-returncode)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
