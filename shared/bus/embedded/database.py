"""What the embedded bus keeps: one SQLite file, with the messages (segments) and all else (tables)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.bus.embedded import segments, tables
from shared.bus.embedded.segments import Segments
from shared.bus.embedded.tables import Tables
from shared.sealed.guard import Guard

FILE = "journal.sqlite"
VERSION = 2
"""1 was without a seal. Who knows no more than that must not write here: what it writes is damage to the seal."""


class NewerDatabase(Exception):
    """The file was written by a program that is newer than this one."""


class Database:
    """One connection, for one thread at a time. Raises sqlite3.Error; a write that raises has changed nothing."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Raises Damaged, NewerDatabase or OSError, too."""
        self._guard = None if read_only else Guard(folder / FILE)
        if self._guard is not None:
            self._guard.inspect()
        self._connection = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False, timeout=10.0)
        self.segments = Segments(self._connection)
        self.tables = Tables(self._connection)
        try:
            self._prepare(self._guard)
        except BaseException:
            self.close()
            raise

    def _prepare(self, guard: Guard | None) -> None:
        if guard is None:
            self._connection.execute("PRAGMA query_only=ON")
            return
        guard.check(self._connection)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise NewerDatabase(f"it has version {version}, and this program knows {VERSION}")
        self._connection.execute("PRAGMA journal_mode=WAL").fetchall()
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(segments.SCHEMA + tables.SCHEMA)
        self.try_to_write()
        guard.begin(self._connection)
        self.segments.resume()

    def try_to_write(self) -> None:
        """Writes what changes nothing: raises where nothing can be written."""
        self._connection.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is written at its end, or nothing is."""
        last = self.segments.last
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self.segments.last = last
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is from one moment."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def check_folder(self) -> None:
        """Raises Gone where the journal is not where it was opened."""
        if self._guard is not None:
            self._guard.watch.check()

    def committed(self) -> None:
        """After every commit, before anybody hears of it."""
        if self._guard is not None:
            self._guard.committed(self._connection)

    def close(self) -> None:
        """The one that writes is the last to close."""
        if self._guard is not None:
            self._guard.close(self._connection)
        else:
            self._connection.close()
