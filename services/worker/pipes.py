"""What a runner process writes to its standard output and error around Python: C libraries, children, last words."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable

from voxloom.runner.output import MAX_LINE, format_lines

_READ = 64 << 10
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING|ERROR) ")


class LineCutter:
    """Bytes in, lines of a log out. A carriage return within a line takes back what is before it; a line that grows
    past MAX_LINE is given as it is. Lines that have the log's form already pass unchanged."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._open = b""

    def feed(self, data: bytes) -> str:
        lines, newline, rest = (self._open + data).rpartition(b"\n")
        self._open = rest.rpartition(b"\r")[2] or rest
        text = "".join(map(self._line, lines.split(b"\n"))) if newline else ""
        return text + self.end() if len(self._open) > MAX_LINE else text

    def end(self) -> str:
        """What has no newline yet, as a line."""
        rest, self._open = self._open, b""
        return self._line(rest) if rest else ""

    def _line(self, raw: bytes) -> str:
        line = raw.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "backslashreplace")
        return f"{line}\n" if _LOG_LINE.match(line) else format_lines(time.time(), self._level, line)


class OutputPipe:
    """Owns the reading end of a pipe. `on_text` gets whole lines, on the loop."""

    def __init__(self, descriptor: int, level: str, on_text: Callable[[str], None]) -> None:
        self._descriptor: int | None = descriptor
        self._cutter = LineCutter(level)
        self._on_text = on_text
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def drain(self) -> None:
        """Takes all that is there now, also a line without its end. Bounded, since a child may go on writing."""
        for _ in range(64):
            if not self._read():
                break
        self._give(self._cutter.end())

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> bool:
        """Whether there may be more."""
        if self._descriptor is None:
            return False
        try:
            data = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._give(self._cutter.feed(data))
        return len(data) == _READ

    def _give(self, text: str) -> None:
        if text:
            self._on_text(text)
