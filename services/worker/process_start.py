"""Starting a runner process, and what its end means."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping

from services.worker.threads import variables
from shared import environment as environments
from shared.forkserver import ForkServer
from shared.processes import Child, Wanted, execute
from voxloom.models import RunError
from voxloom.runner.channel import LOST_SOCKET
from voxloom.runner.forkserver import FILE

_PASSED = frozenset({"PYTHONHASHSEED", "PYTHONUNBUFFERED"})
"""What a runner sees besides what all children see."""
_LONGEST_TEMP = 50
"""Bytes: with the names of a process, of a pool and of a socket, the 104 that an address may have."""


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """What a runner may see of the worker's environment: no settings of ours, no credentials."""
    own = {name: value for name, value in environment.items() if name in _PASSED}
    return environments.scrubbed(environment) | own


def _make_home() -> str:
    """A new folder for one process's own temporary files, by a name that is short and has no spaces. Raises OSError."""
    base = tempfile.gettempdir()
    fit = len(os.fsencode(base)) <= _LONGEST_TEMP and not any(map(str.isspace, base))
    return tempfile.mkdtemp(prefix="voxloom-", dir=base if fit else "/tmp")  # noqa: S108  # mkdtemp makes it ours alone


def _threads(threads: int | None) -> dict[str, str]:
    return {} if threads is None else variables(os.environ, threads)


async def spawn(
    forks: ForkServer | None, sock: int, out: int, err: int, memory: int | None, threads: int | None = None
) -> tuple[Child, str]:
    """The process, and the folder of its own that goes with it. Raises OSError."""
    home = _make_home()
    wanted = Wanted(
        main="host",
        arguments=[FILE] if memory is None else [FILE, str(memory)],
        environment={**_threads(threads), **scrubbed(os.environ), "TMPDIR": home},
        output=out,
        errors=err,
        keeps=sock,
    )
    try:
        return (execute(wanted) if forks is None else await forks.start(wanted)), home
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


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
