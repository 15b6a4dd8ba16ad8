"""`--cpu-times`: where the processor's time went in a run of the tests, by kind of process.

Processes are looked at a few times a second, in /proc. What a process has used after the last look, and those too short
to be seen at all, are in what their parents know of ended children.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace

import pytest

LOOK_SECS = 0.5
LOOKS_AT_NAMES = 3
LOOKS_AWAY = 20
"""So many looks pass over what was somebody else's: there are many of those."""
UNSEEN = "too short to be seen"
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

KINDS = (
    ("exec(eval(sys.stdin", "pytest"),
    ("-m pytest", "pytest"),
    ("voxloom.runner.forkserver", "runner processes and checks of algorithms"),
    ("voxloom.runner.host", "runner processes and checks of algorithms"),
    ("voxloom.runner.check", "runner processes and checks of algorithms"),
    ("shared/hdf5", "checks of files"),
    ("tests.readerforks", "checks of files"),
    ("tests.acceptance.nursery", "services"),
    ("tests.s3server", "S3 server, fake"),
    ("weed", "S3 server, living"),
    ("beam.smp", "brokers"),
    ("epmd", "brokers"),
    ("erl_child_setup", "brokers"),
    ("rabbitmq", "brokers"),
    ("voxloom up", "services"),
    ("voxloom serve", "services"),
    ("voxloom", "commands"),
    ("chromium", "browser"),
)
"""A piece of the command line, and what it tells; the first that fits."""


Seconds = dict[str, float]
"""CPU seconds by name."""


@dataclass(frozen=True)
class Seen:
    """A process at the last look."""

    parent: int
    command: str
    own: float
    """CPU seconds."""
    children: float
    """CPU seconds of its children that have ended, and of theirs."""


def kind_of(command: str) -> str:
    return next((kind for piece, kind in KINDS if piece in command), "others")


def by_kind(processes: Mapping[tuple[int, str], Seen]) -> Seconds:
    """Keys are pid and start time."""
    seconds: Seconds = defaultdict(float)
    for seen in processes.values():
        seconds[kind_of(seen.command)] += seen.own
    seconds[UNSEEN] = sum(unseen(processes))
    return seconds


def unseen(processes: Mapping[tuple[int, str], Seen]) -> Iterable[float]:
    """What each parent knows of its ended children beyond what was seen of them."""
    known: defaultdict[int, float] = defaultdict(float)
    for seen in processes.values():
        known[seen.parent] += seen.own + seen.children
    return (max(0.0, seen.children - known[pid]) for (pid, _), seen in processes.items())


class Watch:
    """Looks at a process and all that come from it."""

    def __init__(self, root: int) -> None:
        self._pids = {root}
        self.processes: dict[tuple[int, str], Seen] = {}
        self._looks: Counter[tuple[int, str]] = Counter()
        self._others: set[int] = set()
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="cpu times", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> Seconds:
        self._over.set()
        self._thread.join(10.0)
        self.look()
        return by_kind(self.processes)

    def _keep_looking(self) -> None:
        while not self._over.wait(LOOK_SECS):
            self.look()

    def look(self) -> None:
        if next(self._numbers) % LOOKS_AWAY == 0:
            self._others.clear()
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        for pid in sorted(pids - self._others):
            if (found := stat_of(pid)) is not None:
                self._note(pid, *found)

    def _note(self, pid: int, started: str, seen: Seen) -> None:
        """One that lost its parent has another; one that has just begun may be called something else in a moment."""
        key = pid, started
        before = self.processes.get(key)
        if before is None and not {pid, seen.parent} & self._pids:
            self._others.add(pid)
            return
        self._pids.add(pid)
        self._looks[key] += 1
        command = _command(pid, seen.command) if self._looks[key] <= LOOKS_AT_NAMES else ""
        known = before or seen
        self.processes[key] = replace(seen, command=command or known.command, parent=known.parent)


def stat_of(pid: int) -> tuple[str, Seen] | None:
    """Start time and facts, the name for the command; None: it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read().decode(errors="replace")
    except OSError:
        return None
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    own, children = (sum(map(int, fields[at : at + 2])) / TICKS for at in (11, 13))
    return fields[19], Seen(int(fields[1]), name, own, children)


def _command(pid: int, name: str) -> str:
    """Its command line and name; nothing of one that has ended and was not waited for yet."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            words = file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = ""
    return words and f"{words}[{name}]"


# --- the plugin ---------------------------------------------------------------------------------------------------

WATCH = pytest.StashKey[Watch]()
PROPERTY = "cpu"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-times", action="store_true", help="say where the processor's time went")


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if config.getoption("--cpu-times") and not hasattr(config, "workerinput"):
        config.stash[WATCH] = Watch(os.getpid())
        config.stash[WATCH].start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """What the process of the tests and its ended children use for this test: with its fixtures, but without the end of
    those that all tests have shared."""
    before = _used()
    last: float | None = None

    def used() -> float:
        nonlocal last
        if nextitem is not None or last is None:
            last = _used() - before
        return last

    item.user_properties.append((PROPERTY, used))
    return (yield)


def _used() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    told = [] if call.when == "setup" else item.user_properties
    report.user_properties = [(name, value() if callable(value) else value) for name, value in told]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        SPENT[report.nodeid.partition("::")[0]] += float(str(dict(report.user_properties)[PROPERTY]))


SPENT: Seconds = defaultdict(float)
"""Of each file, where its tests were reported."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if WATCH not in config.stash:
        return
    _tell(terminalreporter, "20 files with the most CPU time in tests and their children", SPENT, most=20)
    watch = config.stash[WATCH]
    seconds = watch.stop()
    counts = Counter(kind_of(seen.command) for seen in watch.processes.values())
    _tell(
        terminalreporter,
        "CPU time by kind of process, and how many were seen",
        {f"{kind} ({counts[kind]})" if counts[kind] else kind: used for kind, used in seconds.items()},
    )


def _tell(reporter: pytest.TerminalReporter, title: str, seconds: Seconds, most: int | None = None) -> None:
    total = sum(seconds.values())
    reporter.section(title)
    for name, used in sorted(seconds.items(), key=lambda item: -item[1])[:most]:
        reporter.write_line(f"{used:8.1f} s {used / max(total, 0.01):5.0%}  {name}")
    reporter.write_line(f"{total:8.1f} s        in all")
