"""The journal's entries: one row for what one commit brought, so that a commit and a page cost few steps.

Every step in SQLite gives up Python's lock and has to win it back from a busy loop; a row for every message would
make a busy process wait a hundred times where once is enough.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence

from shared.bus.embedded.rows import Backlog, Entry, Page, QueueRow, Retention, Wanted, heads_of, unpack

SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
    last INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, size INTEGER NOT NULL,
    heads BLOB NOT NULL, bodies BLOB NOT NULL);
"""

SEGMENT_ENTRIES = 256
SEGMENT_BYTES = 1 << 20
PAGE_ENTRIES = 512
PAGE_BYTES = 4 << 20
PRUNE_SEGMENTS = 100
PRUNE_BYTES = 8 << 20


class Segments:
    """Offsets grow for ever, also when all has been deleted. Raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.last = 0
        self._time = 0.0

    def resume(self) -> None:
        """Finds where the journal ends; whoever appends calls it first."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'segments'").fetchone()
        self.last = row[0] if row else 0
        newest = self._connection.execute("SELECT time FROM segments ORDER BY last DESC LIMIT 1").fetchone()
        self._time = newest[0] if newest else 0.0

    def append(self, entries: Sequence[Entry], heads: Sequence[bytes]) -> None:
        """Numbers the entries and writes them; a transaction around it makes it one write."""
        for start, end in cuts(entries):
            self._append_one(entries[start:end], heads[start:end])

    @staticmethod
    def fits(entries: Sequence[Entry]) -> bool:
        """Whether appending them is a single statement."""
        return sum(1 for _ in cuts(entries)) == 1

    def _append_one(self, entries: Sequence[Entry], heads: Sequence[bytes]) -> None:
        head = b"[" + b",".join(heads) + b"]"
        body = b"".join([entry.message.body for entry in entries])
        last = self.last + len(entries)
        # Followers search by time: it must not run backwards where the clock does.
        now = max(time.time(), self._time)
        self._connection.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?, ?)", (last, now, len(head) + len(body), head, body)
        )
        for seq, entry in enumerate(entries, self.last + 1):
            entry.seq = seq
        self.last, self._time = last, now

    def read(self, after: int, end: int, wanted: Wanted) -> Page:
        """The next entries after offset `after`: some hundred, or a few MiB. All up to `end` must be committed."""
        entries: list[Entry] = []
        size = 0
        rows = self._connection.execute(
            "SELECT last, heads, bodies FROM segments WHERE last > ? ORDER BY last", (after,)
        )
        for last, heads, bodies in rows:
            entries += unpack(last, heads, bodies, after, wanted)
            after = last
            size += len(heads) + len(bodies)
            if len(entries) >= PAGE_ENTRIES or size >= PAGE_BYTES:
                rows.close()
                return Page(entries, after)
        return Page(entries, max(after, end))

    def offset_at(self, moment: float) -> int:
        """The offset after which all comes that was kept at `moment` (seconds since 1970) or later."""
        low = 0
        high: int = self._connection.execute("SELECT max(last) FROM segments").fetchone()[0] or 0
        while low < high:
            middle = (low + high) // 2
            last, when = self._connection.execute(
                "SELECT last, time FROM segments WHERE last > ? ORDER BY last LIMIT 1", (middle,)
            ).fetchone()
            low, high = (last, high) if when < moment else (low, middle)
        return low

    def count_backlogs(self, wanted: Mapping[str, tuple[QueueRow, Wanted]]) -> dict[str, Backlog]:
        """What every queue has before it; looks through all that comes after the rearmost cursor."""
        found = {name: Backlog() for name in wanted}
        start = min((row.cursor for row, _ in wanted.values()), default=self.last)
        for seq, keys, queue in self._keys_after(start):
            for name, (row, wants) in wanted.items():
                if seq > row.cursor and seq not in row.beyond and wants(seq, keys, queue):
                    found[name].waiting += 1
                    found[name].first = found[name].first or seq
        return found

    def _keys_after(self, offset: int) -> Iterator[tuple[int, list[str], str | None]]:
        rows = self._connection.execute("SELECT last, heads FROM segments WHERE last > ? ORDER BY last", (offset,))
        for last, described in rows:
            heads = heads_of(described)
            for seq, (keys, _, _, queue) in enumerate(heads, last - len(heads) + 1):
                yield seq, keys, queue

    def prune(self, retention: Retention) -> int:
        """Deletes some of the oldest segments that need not be kept; how many."""
        oldest = self._connection.execute(
            "SELECT last, time, size FROM segments ORDER BY last LIMIT ?", (PRUNE_SEGMENTS,)
        ).fetchall()
        doomed = _doomed(oldest, retention, excess=self._used() - retention.size)
        if doomed:
            self._connection.execute("DELETE FROM segments WHERE last <= ?", (doomed[-1],))
        return len(doomed)

    def _used(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def cuts(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Where to cut entries into segments of bounded size; one entry may be larger."""
    start, size = 0, 0
    for index, entry in enumerate(entries):
        length = len(entry.message.body)
        if index > start and (index - start >= SEGMENT_ENTRIES or size + length > SEGMENT_BYTES):
            yield start, index
            start, size = index, 0
        size += length
    if entries:
        yield start, len(entries)


def _doomed(oldest: Sequence[tuple[int, float, int]], retention: Retention, excess: int) -> list[int]:
    """Of the oldest segments (last offset, time, size), those that one step deletes."""
    doomed: list[int] = []
    size = 0
    for last, when, length in oldest:
        expendable = when < retention.before or size < excess
        if last > retention.settled or not expendable or size > PRUNE_BYTES:
            break
        doomed.append(last)
        size += length
    return doomed
