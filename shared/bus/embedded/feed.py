"""A reader's way through the journal: from memory while it keeps up, else page by page from the disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from shared.bus.embedded.rows import Entry, Page

MOST_ENTRIES = 2048
MOST_BYTES = 4 << 20

Load = Callable[[int], Awaitable[Page]]
"""Reads the next page after an offset."""


class Feed:
    """All wanted entries up to `loaded` are in `ready` or have been taken; others there are only while it lags."""

    def __init__(self, after: int, *, lags: bool) -> None:
        self.ready: deque[Entry] = deque()
        self.loaded = after
        self.lags = lags
        self._bytes = 0
        self._loading = asyncio.Lock()

    def offer(self, entry: Entry, *, wanted_now: bool = True) -> None:
        """A new entry; it is kept in memory if somebody wants it now and there is room."""
        if self.lags or entry.seq <= self.loaded:
            return
        if wanted_now and self._has_room(entry):
            self._keep(entry)
            self.loaded = entry.seq
        else:
            self.lags = True
            self.loaded = entry.seq - 1

    def take(self) -> Entry:
        entry = self.ready.popleft()
        self._bytes -= len(entry.message.body)
        return entry

    async def load(self, read: Load, newest: Callable[[], int]) -> None:
        """Reads a page where memory has nothing. `newest`: the offset up to which entries have been offered."""
        async with self._loading:
            if self.ready or not self.lags:
                return
            page = await read(self.loaded)
            for entry in page.entries:
                self._keep(entry)
            self.loaded = page.reached
            self.lags = page.reached < newest()

    def _has_room(self, entry: Entry) -> bool:
        size = self._bytes + len(entry.message.body)
        return not self.ready or (len(self.ready) < MOST_ENTRIES and size <= MOST_BYTES)

    def _keep(self, entry: Entry) -> None:
        self.ready.append(entry)
        self._bytes += len(entry.message.body)
