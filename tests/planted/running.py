"""One run of pytest over a tree: within a time limit, and with nothing left of it afterwards."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.planted.tree import Tree

_POLL_SECS = 0.05
_KILL_SECS = 5.0
_KILL_ROUNDS = 20
_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of Linux."""
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+\.py\b.*?)(?: - .*)?$", re.MULTILINE)  # no line of a log
_GROUP = re.compile(r"@[\w ]+$")
"""What pytest-xdist adds to the id of a test."""


@dataclass(frozen=True)
class Outcome:
    """`code` is what pytest has ended with; None: it was over the limit. `cpu` are the seconds of all processes."""

    code: int | None
    output: str
    seconds: float
    cpu: float

    @property
    def is_green(self) -> bool:
        return self.code == _PASSED

    @property
    def first_failure(self) -> str | None:
        """The id of a test; None where no test has failed."""
        if self.code not in (_FAILED, _INTERRUPTED) or (found := _FAILURE.search(self.output)) is None:
            return None
        return _GROUP.sub("", found[1])

    @property
    def tail(self) -> str:
        return "\n".join(self.output.splitlines()[-25:])


def adopt_orphans() -> None:
    """From now on whatever a run of ours has started is below us, also once its parent is dead: nothing gets lost."""
    ctypes.CDLL(None, use_errno=True).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)


def run(tree: Tree, paths: Sequence[str], *, at_once: int, limit: float) -> Outcome:
    command = [str(tree.python), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    if at_once > 1:
        command += ["-n", str(at_once), "--dist", "loadgroup", "--no-loadscope-reorder"]
    command += paths
    log = tree.folder.with_name("output")
    begun, used = time.monotonic(), _cpu()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tree.folder,
            env=tree.variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        code = _wait(process, begun + limit)
    finally:
        end_all(process)
        tree.clear()
    return Outcome(code, log.read_text(errors="replace"), time.monotonic() - begun, _cpu() - used)


def _cpu() -> float:
    """Of all that we have started, or adopted, and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    while (code := process.poll()) is None:
        if time.monotonic() > deadline:
            return None
        _bury_orphans(process.pid)
        time.sleep(_POLL_SECS)
    return code


def _bury_orphans(ours: int) -> None:
    """Tests wait for processes to be gone: for those that we have adopted, this is up to us."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != ours:
            os.waitpid(ended.si_pid, 0)


def end_all(process: subprocess.Popen[bytes]) -> None:
    """Its group, and whatever else it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(_KILL_ROUNDS):
        left = psutil.Process().children(recursive=True)
        if not left:
            return
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=_KILL_SECS)
