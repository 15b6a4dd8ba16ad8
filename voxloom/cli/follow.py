"""What one sees of a run while it goes on: a bar with the last log lines under it, or plain lines in a pipe."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from voxloom.cli.text import is_terminal, printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import Progress

    from voxloom.client import Update

LINES = 10
"""Log lines under the bar."""
STEPS = 10
"""Plain lines about progress, at most."""


class View(Protocol):
    def moved(self, doing: str, done: int, total: int) -> None:
        """So many files of so many are uploaded or downloaded; called from any thread."""

    def take(self, update: Update) -> None: ...

    def say(self, line: str) -> None: ...


class PlainView:
    """One line for each change, for pipes and files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step = 0

    def moved(self, doing: str, done: int, total: int) -> None:
        if done == total:
            self.say(f"{doing} {total} {'file' if total == 1 else 'files'}: done")

    def take(self, update: Update) -> None:
        from voxloom.client import LogUpdate, ProgressUpdate, StatusUpdate

        match update:
            case StatusUpdate():
                self.say(str(update.status))
            case LogUpdate():
                self.say(printable(update.text).rstrip("\n"))
            case ProgressUpdate():
                self._take_progress(update.progress)

    def _take_progress(self, progress: float) -> None:
        step = int(progress * STEPS + 1e-9)
        if step > self._step:
            self._step = step
            self.say(f"{progress:.0%}")

    def say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class LiveView:
    """A bar that moves, and under it the newest log lines."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("waiting", total=1.0)
        self._lines: deque[str] = deque(maxlen=LINES)

    def moved(self, doing: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=f"{doing} {done}/{total}", completed=done / total)

    def take(self, update: Update) -> None:
        from voxloom.client import LogUpdate, ProgressUpdate, StatusUpdate

        match update:
            case StatusUpdate():
                self._bar.update(self._task, description=str(update.status), completed=update.record.progress)
            case ProgressUpdate():
                self._bar.update(self._task, completed=update.progress)
            case LogUpdate():
                self._lines.extend(printable(update.text).splitlines())

    def say(self, line: str) -> None:
        self._lines.append(line)

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        return Group(self._bar, *(Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self._lines))


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
