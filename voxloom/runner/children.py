"""The processes that this one has started, and those that they have: who they are, and their end.

On Linux a process that `adopt` was called in gets whatever is left below it without a parent, so that neither a second
fork nor a session of its own leads out of its reach. Elsewhere such a process is found only while its parents live.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000
"""Linux: children of every kind, also those that say nothing at their end."""
_PAUSE = 0.001
_MOST_HOPS = 1000
_NEXT = 16
"""Numbers after that of a process that has ended, among which the one that it has started is looked for."""
QUIET_SCANS = 2
"""Looks in a row that find nothing: one alone may miss a process that forks and ends all the time."""
END_SECS = 5.0


class Row(NamedTuple):
    parent: int
    has_ended: bool
    name: str


Table = Mapping[int, Row]


def adopt() -> bool:
    """Makes this process the parent of all below it that lose theirs. False where the system cannot."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def has_any() -> bool:
    """Whether this process has children, ended ones among them. Reaps none."""
    if sys.platform != "linux":
        return any(row.parent == os.getpid() for row in table().values())
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True


def direct(spared: Collection[int]) -> set[int]:
    """The children of this process that are not `spared`, ended ones among them."""
    return {pid for pid, row in table().items() if row.parent == os.getpid() and pid not in spared}


def below(processes: Table, top: int, spared: Collection[int]) -> set[int]:
    """Every process below `top`, but not `spared` and what is below those."""
    children: dict[int, list[int]] = {}
    for pid, row in processes.items():
        children.setdefault(row.parent, []).append(pid)
    found: set[int] = set()
    open_ends = [top]
    while open_ends:
        new = [pid for pid in children.get(open_ends.pop(), ()) if pid not in spared and pid not in found]
        found.update(new)
        open_ends += new
    return found


def living(spared: Collection[int] = (), alone: Collection[int] = ()) -> dict[int, str]:
    """The names of the processes below this one, by their numbers; not of those that have ended. Those in `alone` are
    left out, too, but not what is below them."""
    processes = table()
    found = below(processes, os.getpid(), spared).difference(alone)
    return {pid: processes[pid].name for pid in sorted(found) if not processes[pid].has_ended}


def end_all(
    spared: Collection[int] = (), seconds: float = END_SECS, *, alone: Collection[int] = ()
) -> tuple[dict[int, str], dict[int, str]]:
    """Ends every process below this one but `spared` and theirs, and those that are spared `alone`: all are stopped, so
    that none can fork while the next is looked for, and then killed, until nothing is found twice. The names of those
    that have lived, and of those that would not end in time."""
    seen: dict[int, str] = {}
    stopped: set[int] = set()
    left: dict[int, str] = {}
    quiet, deadline = 0, time.monotonic() + seconds
    while quiet < QUIET_SCANS and time.monotonic() < deadline:
        hopping = reap_ended({*spared, *alone}, seen)
        left = living(spared, alone)
        new = left.keys() - stopped
        seen.update({pid: left[pid] for pid in new})
        _signal(new or left.keys(), signal.SIGSTOP if new else signal.SIGKILL)
        stopped |= new
        quiet = 0 if left or hopping else quiet + 1
        if left and not new:
            time.sleep(_PAUSE)
    return seen, left


def reap_ended(spared: Collection[int], seen: dict[int, str]) -> bool:
    """Reaps the children that have ended, and says whether there were any.

    One that forks and ends all the time is nowhere by the time that all processes have been looked at. But what it has
    started has one of the next numbers, mostly: that is ended here, and `seen` has its name."""
    any_ended = False
    for _ in range(_MOST_HOPS):
        ended = _ended_child(spared)
        if ended is None:
            break
        any_ended = True
        _wait(ended)
        if _ended_child(spared) is None:  # It is the last one so far.
            _kill_children_among(set(range(ended + 1, ended + _NEXT)).difference(spared), seen)
    return any_ended


def _kill_children_among(numbers: Iterable[int], seen: dict[int, str]) -> None:
    """Those that are children of this process, which holds their numbers for them."""
    for pid in numbers:
        row = _row(pid)
        if row is not None and row.parent == os.getpid() and not row.has_ended and not _is_thread(pid):
            seen[pid] = row.name
            _signal([pid], signal.SIGKILL)


def _is_thread(pid: int) -> bool:
    """Whether it is the number of a thread of a child, which has a row as well: a signal to it ends that child."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return True
    return False


def _ended_child(spared: Collection[int]) -> int | None:
    """One that waits to be reaped."""
    if sys.platform == "linux":
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
        except ChildProcessError:
            return None
        if found is None or found.si_pid not in spared:
            return None if found is None else found.si_pid
    # The system tells of one alone, and of the same one each time: behind one that is spared there may be others.
    ended = (pid for pid, row in table().items() if row.parent == os.getpid() and row.has_ended)
    return next((pid for pid in ended if pid not in spared), None)


def _wait(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG | _WALL if sys.platform == "linux" else os.WNOHANG)


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(pid: int, seconds: float) -> bool:
    """Waits for the end of a child. False where it takes longer."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
    return True


# --- who there is -----------------------------------------------------------------------------------------


def table() -> Table:
    """All processes that can be seen."""
    return dict(_from_proc() if sys.platform == "linux" else _from_ps())


def _from_proc() -> Iterator[tuple[int, Row]]:
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (row := _row(int(entry))) is not None:
            yield int(entry), row


def _row(pid: int) -> Row | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            row = parse_stat(file.read(1024))
        if row.has_ended and len(os.listdir(f"/proc/{pid}/task")) > 1:
            return row._replace(has_ended=False)  # only its first thread has
        return row
    except OSError:
        return None  # it has ended meanwhile


def parse_stat(line: bytes) -> Row:
    """`12 (a name) S 1 …`; the name may hold anything."""
    head, _, rest = line.rpartition(b")")
    state, parent = rest.split(maxsplit=2)[:2]
    return Row(int(parent), state in (b"Z", b"X"), head.partition(b"(")[2].decode(errors="replace"))


def _from_ps() -> Iterator[tuple[int, Row]]:
    listing = subprocess.Popen(
        ["/bin/ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "comm="],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    text = listing.communicate()[0].decode(errors="replace")
    for pid, row in parse_ps(text):
        if pid != listing.pid:
            yield pid, row


def parse_ps(text: str) -> Iterator[tuple[int, Row]]:
    for line in text.splitlines():
        pid, parent, state, *name = line.split(maxsplit=3)
        yield int(pid), Row(int(parent), state.startswith("Z"), os.path.basename(name[0]) if name else "")
