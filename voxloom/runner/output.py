"""What a run says: log lines, prints, warnings and progress, gathered and sent a few times a second.

Lines read `YYYY-MM-DD HH:MM:SS LEVEL text`, in UTC. Nothing here ever makes a run fail or wait for long: what goes over
a run's limit is counted and dropped.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from pydantic import ValidationError

from voxloom.runner.exceptions import TaskStoppedException, text_of

INTERVAL = 0.05
"""Seconds that news may wait for company."""
MAX_BATCH = 256 << 10
"""Characters after which a batch is sent at once, by the thread that fills it."""
MAX_LINE = 64 << 10
"""Characters of one line that are kept."""


def format_lines(moment: float, level: str, text: str) -> str:
    """`text` as lines of a log, each ending in a newline."""
    prefix = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))} {level} "
    return "".join(f"{prefix}{_cut(line)}\n" for line in _plain(text).removesuffix("\n").split("\n"))


def _cut(line: str) -> str:
    line = line.removesuffix("\r")
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} … ({len(line) - MAX_LINE} more characters)"


def _plain(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class Outbox:
    """Gathers the news of the run at hand. `send_log` and `send_progress` carry them off; they may raise OSError."""

    def __init__(
        self,
        send_log: Callable[[str, str], None],
        send_progress: Callable[[str, float], None],
        send_state: Callable[[str, dict[str, Any]], None] = lambda _run, _state: None,
    ) -> None:
        self._send_log = send_log
        self._send_progress = send_progress
        self._send_state = send_state
        self._lock = threading.RLock()  # a destructor or a signal handler may print while it is held
        self._pending = threading.Event()
        self._forget()
        threading.Thread(target=self._keep_sending, name="voxloom-outbox", daemon=True).start()

    def _forget(self) -> None:
        self._run: str | None = None
        self._text: list[str] = []
        self._size = 0
        self._left = 0
        self._sending = False
        self._flushed = 0.0
        self._told = 0.0
        self.in_child = False
        self.dropped = 0
        self.progress = 0.0
        self.state: dict[str, Any] | None = None
        """What the run has said of itself since it was last sent."""

    def begin(self, run: str, log_limit: int) -> None:
        with self._lock:
            self._forget()
            self._run, self._left = run, log_limit

    def end(self) -> None:
        """Sends the log that is left (the last progress goes with the end itself). What is said from now on, by a stray
        thread perhaps, belongs to no run."""
        with self._lock:
            self._told = self.progress
            self.flush()
            self._run = None

    def log(self, level: str, text: str) -> None:
        lines = format_lines(time.time(), level, text)
        if self.in_child:
            os.write(2, lines.encode())
            return
        with self._lock:
            if self._run is None:
                return
            size = len(lines) if lines.isascii() else len(lines.encode())
            if self._left < size:
                self._left = 0
                self.dropped += size
                return
            self._left -= size
            self._size += len(lines)
            self._text.append(lines)
            if self._size >= MAX_BATCH:
                self.flush()
        self._pending.set()

    def set_progress(self, progress: float) -> None:
        self.progress = progress
        if not self._pending.is_set():
            self._pending.set()

    def set_state(self, state: dict[str, Any]) -> None:
        self.state = state
        self._pending.set()

    def flush(self) -> None:
        """Sends what has gathered. Within itself (a signal handler that prints) it does nothing."""
        with self._lock:
            if self._run is None or self._sending:
                return
            self._sending, self._flushed = True, time.monotonic()
            try:
                self._send_pending(self._run)
            finally:
                self._sending = False

    def hurry(self) -> None:
        """As `flush`, unless that was done within the last INTERVAL: then a batch is under way."""
        if time.monotonic() - self._flushed >= INTERVAL:
            self.flush()

    def _send_pending(self, run: str) -> None:
        if self._text:
            text = "".join(self._text)
            self._text.clear()
            self._size = 0
            self._send_log(run, text)
        if self.progress != self._told:
            self._told = self.progress
            self._send_progress(run, self.progress)
        state, self.state = self.state, None
        if state is not None:
            self._send_state(run, state)

    def _keep_sending(self) -> None:
        while True:
            self._pending.wait()
            time.sleep(INTERVAL)
            self._pending.clear()
            try:
                self.flush()
            except OSError:
                return  # the worker is gone; whoever reads the socket sees it, too

    def disown(self) -> None:
        """To be called in a forked child: from now on lines go to standard error, which the worker reads."""
        self._lock = threading.RLock()
        self._pending = threading.Event()
        self._forget()
        self.in_child = True


class RunStream(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`: whole lines go to the log.

    A line that is overwritten by a carriage return, as progress bars do, counts as it was last.
    """

    def __init__(self, outbox: Outbox, level: str, descriptor: int) -> None:
        super().__init__()
        self._outbox = outbox
        self._level = level
        self._descriptor = descriptor
        self._open_lines: dict[int, str] = {}  # by thread, so that two that print do not mix their words
        self._raw: BinaryIO | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the base class
        return "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """For those who write bytes: the file descriptor itself."""
        if self._raw is None:
            self._raw = open(self._descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115  # as long as we live
        return self._raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        """Not ours to close: it serves all runs of the process."""

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread = threading.get_ident()
        whole = self._open_lines.pop(thread, "") + text
        lines, newline, rest = whole.rpartition("\n")
        rest = rest.rpartition("\r")[2] or rest
        if newline:
            self._outbox.log(self._level, "\n".join(map(_last_shown, lines.split("\n"))))
        if len(rest) > MAX_LINE:
            self._outbox.log(self._level, rest)
        elif rest:
            self._open_lines[thread] = rest
        return len(text)

    def end_lines(self) -> None:
        """Logs what was printed without a newline so far."""
        while self._open_lines:
            self._outbox.log(self._level, _last_shown(self._open_lines.popitem()[1]))


def _last_shown(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


class RunLogHandler(logging.Handler):
    """Takes `logging` into the run's log: the author's loggers from INFO, all others from WARNING."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(logging.INFO)
        self.folder: str | None = None
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not self._is_authors(record.pathname):
            return
        try:
            self._outbox.log(level_name(record.levelno), self._text(record))
        except Exception:  # noqa: BLE001  # a message that cannot be formatted: logging's own rule for handlers
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + author_traceback(record.exc_info[1], self.folder)
        return text

    def _is_authors(self, path: str) -> bool:
        return self.folder is not None and path.startswith(self.folder)


def level_name(number: int) -> str:
    if number >= logging.ERROR:
        return "ERROR"
    return "WARNING" if number >= logging.WARNING else "INFO"


def author_traceback(error: BaseException, folder: str | None) -> str:
    """A traceback with the frames of the author's files alone, without local variables."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=False)
    _keep_authors_frames(whole, folder)
    lines = _short(whole, error) if isinstance(error, ValidationError) else whole.format()
    return "".join(lines).rstrip("\n")


def _short(whole: traceback.TracebackException, error: ValidationError) -> list[str]:
    """Pydantic's own text is long, and shows values."""
    head = ["Traceback (most recent call last):\n"] if whole.stack else []
    return [*head, *whole.stack.format(), f"{type(error).__name__}: {text_of(error)}"]


def _keep_authors_frames(part: traceback.TracebackException, folder: str | None) -> None:
    part.stack = traceback.StackSummary.from_list(
        [
            traceback.FrameSummary(os.path.relpath(frame.filename, folder), frame.lineno, frame.name, line=frame.line)
            for frame in part.stack
            if folder is not None and frame.filename.startswith(folder)
        ]
    )
    for linked in (part.__cause__, part.__context__, *(part.exceptions or ())):
        if linked is not None:
            _keep_authors_frames(linked, folder)


class Output:
    """Everything a runner process says, taken over from Python's own places for the life of the process."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.stdout = RunStream(outbox, "INFO", 1)
        self.stderr = RunStream(outbox, "WARNING", 2)
        self.handler = RunLogHandler(outbox)

    def take_over(self) -> None:
        root = logging.getLogger()
        root.addHandler(self.handler)
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        threading.excepthook = self._on_thread_error
        self.use_streams()

    def use_streams(self) -> None:
        sys.stdout, sys.stderr = self.stdout, self.stderr

    def traceback_of(self, error: BaseException) -> str:
        return author_traceback(error, self.handler.folder)

    def end_run(self) -> None:
        self.stdout.end_lines()
        self.stderr.end_lines()
        self.outbox.end()

    def _on_thread_error(
        self,
        args: threading.ExceptHookArgs,
    ) -> None:
        error = args.exc_value
        if error is not None and not isinstance(error, SystemExit | TaskStoppedException):
            self.outbox.log("ERROR", self.traceback_of(error))


__all__ = ["Outbox", "Output", "RunStream", "author_traceback", "format_lines", "level_name"]
