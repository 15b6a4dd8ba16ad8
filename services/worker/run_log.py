"""The log of one attempt on the worker: short ones live in memory, long ones on disk, endless ones are cut."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from voxloom.runner.output import format_lines

LIVE_INTERVAL = 0.1
"""Seconds between pieces for those who watch."""
MAX_PIECE = 64 << 10
"""Characters of one piece; who would get more skips to the newest (the offset tells)."""
SPILL = 256 << 10
"""Characters that are kept in memory before the log goes to its file."""

_log = logging.getLogger("voxloom.worker")


class RunLog:
    """Appending never waits. `on_piece(offset, text)` is called on the loop, at most every LIVE_INTERVAL; offsets count
    characters. At most `limit` bytes are kept, of which more than SPILL in memory only while the disk lags."""

    def __init__(self, path: Path, *, limit: int, on_piece: Callable[[int, str], None]) -> None:
        self._path = path
        self._limit = limit
        self._on_piece = on_piece
        self._memory: list[str] = []
        self._in_memory = 0
        self._spilled = False
        self._writer: asyncio.Task[None] | None = None
        self._live = ""
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")
        self._bytes = 0
        self._dropped = 0
        self._finished = False
        self.characters = 0

    def append(self, text: str) -> None:
        """Adds whole lines."""
        size = len(text) if text.isascii() else len(text.encode())
        if self._finished or self._dropped or self._bytes + size > self._limit:
            self._dropped += size
            return
        self._bytes += size
        self._keep(text)

    def add_dropped(self, size: int) -> None:
        """So many bytes were not even sent to us."""
        self._dropped += size

    async def finish(self) -> None:
        """Says what was dropped, gives the last piece, waits for the disk. What is added later is dropped."""
        if not self._finished and self._dropped:
            self._keep(dropped_line(self._dropped, self._limit))
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        if self._writer is not None:
            await self._writer

    async def head_and_tail(self, limit: int) -> str:
        """The log if it has at most `limit` characters, else its start and its end, about as much as that together,
        and a line between them that says how much is left out. After `finish`."""
        if not self._spilled:
            return head_and_tail("".join(self._memory), limit)
        await self._spill()
        return await asyncio.to_thread(_ends_of_file, self._path, self.characters, limit)

    async def save(self) -> Path:
        """The file with the whole log, in UTF-8. After `finish`."""
        await self._spill()
        return self._path

    def _keep(self, text: str) -> None:
        self.characters += len(text)
        self._memory.append(text)
        self._in_memory += len(text)
        if self._in_memory > SPILL and self._writer is None:
            self._writer = asyncio.create_task(self._spill(), name="worker.runlog")
            self._writer.add_done_callback(self._on_written)
        self._live = (self._live + text)[-MAX_PIECE:]
        if self._timer is None:
            delay = max(0.0, self._told_at + LIVE_INTERVAL - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._live:
            text, self._live = self._live, ""
            self._told_at = time.monotonic()
            self._on_piece(self.characters - len(text), text)

    async def _spill(self) -> None:
        """Moves what is in memory to the end of the file."""
        while self._memory or not self._spilled:
            text = "".join(self._memory)
            self._memory.clear()
            self._in_memory = 0
            self._spilled = True
            try:
                await asyncio.to_thread(_append, self._path, text)
            except OSError as error:
                _log.warning("%d characters of a run's log are lost: %s", len(text), error)
                self.characters -= len(text)

    def _on_written(self, _: asyncio.Task[None]) -> None:
        self._writer = None


def dropped_line(size: int, limit: int) -> str:
    return format_lines(time.time(), "WARNING", f"{size} bytes of log were dropped: a run may log {limit} bytes.")


def head_and_tail(text: str, limit: int) -> str:
    """`text` itself, or whole lines from its start and its end."""
    if len(text) <= limit:
        return text
    return _joined(text[: limit // 2], text[-(limit // 2) :], len(text))


def _joined(head: str, tail: str, total: int) -> str:
    head = head[: head.rfind("\n") + 1]
    tail = tail[tail.find("\n") + 1 :]
    left_out = total - len(head) - len(tail)
    return f"{head}{format_lines(time.time(), 'WARNING', f'{left_out} characters of the log are left out here.')}{tail}"


def _ends_of_file(path: Path, characters: int, limit: int) -> str:
    if characters <= limit:
        return path.read_text(encoding="utf-8")
    half, widest = limit // 2, 4
    with path.open("rb") as file:
        head = file.read(half * widest).decode("utf-8", "ignore")[:half]
        file.seek(max(0, os.fstat(file.fileno()).st_size - half * widest))
        tail = file.read().decode("utf-8", "ignore")[-half:]
    return _joined(head, tail, characters)


def _append(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())
