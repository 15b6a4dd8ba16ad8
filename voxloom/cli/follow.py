"""What one sees of a run while it goes on: a bar with the last log lines under it, or plain lines in a pipe."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from voxloom.cli.text import is_terminal, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.progress import Progress, TaskID

    from voxloom.client import Update
    from voxloom.models import Status

LINES = 10
"""Log lines under the bar."""
STEPS = 10
"""Plain lines about progress, at most."""


class View(Protocol):
    def began(self, what: str) -> None:
        """The run is on the server; `what` it is, with its id."""

    def moved(self, doing: str, done: int, total: int) -> None:
        """So many files of so many are uploaded or downloaded; called from any thread."""

    def take(self, update: Update) -> None: ...

    def stands(self, status: Status) -> None:
        """How the run stands now."""

    def say(self, line: str) -> None:
        """Something of ours, which stays in sight."""


class PlainView:
    """One line for each change, for pipes and files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step = 0

    def began(self, what: str) -> None:
        self.say(what)

    def moved(self, doing: str, done: int, total: int) -> None:
        if done == total:
            self.say(f"{doing} {total} {'file' if total == 1 else 'files'}: done")

    def take(self, update: Update) -> None:
        from voxloom.client import LogUpdate, ProgressUpdate, StatusUpdate

        match update:
            case StatusUpdate():
                self.stands(update.status)
            case LogUpdate():
                self.say(printable(update.text).rstrip("\n"))
            case ProgressUpdate():
                self._take_progress(update.progress)

    def stands(self, status: Status) -> None:
        self.say(str(status))

    def _take_progress(self, progress: float) -> None:
        step = int(progress * STEPS + 1e-9)
        if self._step < step < STEPS:  # the end is told by the status: a run that fails has got to 100%, too
            self._step = step
            self.say(f"{progress:.0%}")

    def say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class LiveView:
    """A bar for each thing that takes time, under them the newest log lines, and what we have to say."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._reached = 0.0
        self._heading: list[str] = []
        self._lines: deque[str] = deque(maxlen=LINES)
        self._said: list[str] = []

    def began(self, what: str) -> None:
        self._heading = [what]
        self._task("run", "PENDING")

    def moved(self, doing: str, done: int, total: int) -> None:
        self._bars.update(self._task(doing, doing), description=f"{doing} {done}/{total}", completed=done / total)

    def take(self, update: Update) -> None:
        from voxloom.client import LogUpdate, ProgressUpdate, StatusUpdate

        match update:
            case StatusUpdate():
                self.stands(update.status)
            case ProgressUpdate():
                self._reached = update.progress if update.progress < 1 else self._reached
                self._bars.update(self._task("run", "RUNNING"), completed=update.progress)
            case LogUpdate():
                self._lines.extend(printable(update.text).splitlines())

    def stands(self, status: Status) -> None:
        task = self._task("run", str(status))
        self._bars.update(task, description=str(status))
        if status.terminal:  # of a run that failed, the server says 100%
            self._bars.update(task, completed=1.0 if status == "COMPLETED" else self._reached)
            self._bars.stop_task(task)

    def _task(self, name: str, description: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(description, total=1.0)
        return self._tasks[name]

    def say(self, line: str) -> None:
        self._said.append(line)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.console import Group
        from rich.constrain import Constrain
        from rich.text import Text

        heading = [Text(line, no_wrap=True, overflow="ellipsis") for line in self._heading]
        log = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self._lines]
        shown = Group(*heading, self._bars, *log, *map(Text, self._said))
        yield Constrain(shown, options.max_width - len("^C"))  # a Ctrl-C would wrap a line that is full


@contextmanager
def open_view(stream: TextIO | None = None) -> Iterator[View]:
    """The view that suits `stream` (stderr unless told), on display inside the block."""
    stream = stream or sys.stderr
    if not is_terminal(stream):
        yield PlainView(stream)
        return
    bar = _bar()
    view = LiveView(bar)
    with _live(view, stream):
        yield view


def _bar() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())


def _live(view: LiveView, stream: TextIO) -> Live:
    from rich.console import Console
    from rich.live import Live

    return Live(view, console=Console(file=stream), refresh_per_second=10)
