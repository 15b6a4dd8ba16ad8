"""Keeps the seal of a database while one process has it open."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import time
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from shared.sealed import sealfile
from shared.sealed.inspection import Verdict, boot_id, damaged, inspect, log_of, seal_of, sums_of
from shared.sealed.sealfile import Base, Mark, SealFile, State
from shared.sealed.wal import FRAME, HEADER
from shared.sealed.watch import Watch

CHECKPOINT_FRAMES = 1000
"""The log is moved into the database when it is so long: as SQLite does it by itself, where nobody keeps a seal."""

_FRAMES_AT_ONCE = 256
_INDEX = struct.Struct("=16sII8s8s")
_INDEX_SALTS = struct.Struct(">2I")
_UNKNOWN = 0

log = logging.getLogger("voxloom.folder")


class Guard:
    """In this order: `inspect`, then the database is opened, `check`, `begin`; `committed` after each commit;
    `checkpoint` instead of SQLite's own; `close`, which closes the connection, after all others. Apart from `watch`
    only for the thread that writes.

    A file of the database must not be closed while SQLite has it open, since SQLite's locks would go with it: so the
    descriptors stay open from `begin` to `close`.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self.watch = Watch()
        self._verdict = Verdict()
        self._base = Base(State.OPENING)
        self._sums = array("I")
        self._file: SealFile | None = None
        self._descriptors: list[int] = []
        self._index = self._log = self._pages = -1

    def inspect(self, *, is_used: bool = False) -> None:
        """Raises Damaged, with a sentence, and has changed nothing then. `is_used`: other files show that there was a
        database here."""
        self._verdict = inspect(self.database)
        if self._verdict.is_new and is_used:
            raise damaged(str(self.database), "is missing")
        if self._verdict.log_aside:
            log_of(self.database).rename(
                self.database.with_name(f"{log_of(self.database).name}.aside-{time.time_ns()}")
            )
        if self._verdict.note:
            log.warning("%s", self._verdict.note)
        self._start_seal()

    def _start_seal(self) -> None:
        path = seal_of(self.database)
        known = sealfile.parse(path.read_bytes()) if path.exists() else None
        self._file = SealFile(path)
        base = known.base if known is not None and known.base is not None and self._verdict.sums else None
        self._base = replace(base or Base(State.OPENING), state=State.OPENING, boot=boot_id())
        if base is not None and known is not None:
            self._sums = array("I", [known.sums[page] for page in range(1, base.pages + 1)])
        if self._verdict.is_new:
            self._file.write_mark(Mark())
        self._file.write_base(self._base)

    def check(self, connection: sqlite3.Connection) -> None:
        """Looks into all of it where there are no checksums. Raises Damaged."""
        if self._verdict.sums or self._verdict.is_new:
            return
        try:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise damaged(str(self.database), f"is damaged ({' '.join(found.split())})")

    def begin(self, connection: sqlite3.Connection) -> None:
        """The database is in use from now on. Something has been written to it: its log is there."""
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._pages = self._open(self.database)
        self._log = self._open(log_of(self.database))
        self._index = self._open(self.database.with_name(f"{self.database.name}-shm"))
        self.watch.keep(seal_of(self.database))
        self._base = replace(self._base, moved=Mark(), page_size=_page_size(connection))
        if not self._verdict.sums:
            self._sums = array("I", [found for _, found in sums_of(self._pages, self._base.page_size)])
        self._seal_file.write_mark(self._position()[0])
        self._seal(State.OPEN)

    def committed(self, connection: sqlite3.Connection) -> None:
        """Marks the last commit, without waiting for the disk, and moves the log into the database when it is long.
        The commit stands whatever happens here: a mark that is behind does no harm."""
        try:
            mark, _ = self._position()
            self._seal_file.write_mark(mark)
            if mark.frames >= CHECKPOINT_FRAMES and mark != self._base.moved:
                self.checkpoint(connection)
        except (OSError, sqlite3.Error) as error:
            log.warning("%s could not be sealed: %s", self.database, error)

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Moves the log into the database, as far as readers let it. Raises sqlite3.Error or OSError."""
        _, _, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if moved == self._position()[0].frames:
            self._seal(State.OPEN)

    def close(self, connection: sqlite3.Connection) -> None:
        """Also where it was never begun."""
        try:
            moved = self._move_all(connection)
        finally:
            connection.close()
        try:
            if moved and not log_of(self.database).exists():
                self._seal_file.write_base(replace(self._base, state=State.CLOSED))
        except OSError as error:
            log.warning("%s could not be sealed: %s", self.database, error)
        self.release()

    def _move_all(self, connection: sqlite3.Connection) -> bool:
        """Whether all is in the database now, and its checksums know it."""
        if self._index < 0 or self.watch.missing() is not None:
            return False
        try:
            self.checkpoint(connection)
        except (OSError, sqlite3.Error) as error:
            log.warning("the log of %s could not be moved into it: %s", self.database, error)
            return False
        return self._position()[0] == self._base.moved

    def release(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._index = -1
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _seal_file(self) -> SealFile:
        assert self._file is not None, "the database has not been inspected"
        return self._file

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY)
        self._descriptors.append(descriptor)
        self.watch.keep(path)
        return descriptor

    def _position(self) -> tuple[Mark, int]:
        """The last commit, and how many pages the database has with it: from the log's index, which SQLite shares.
        https://www.sqlite.org/walformat.html#the_wal_index_header"""
        _, frames, pages, _, salts = _INDEX.unpack(os.pread(self._index, _INDEX.size, 0))
        first, second = _INDEX_SALTS.unpack(salts)
        return Mark((first, second), frames), pages

    def _seal(self, state: State) -> None:
        """After all of the log was moved, and before it begins anew."""
        mark, pages = self._position()
        if mark == self._base.moved and state is self._base.state:
            return
        changed = self._take_in(mark, pages or len(self._sums))
        first = self._base.state is State.OPENING
        base = replace(self._base, state=state, pages=len(self._sums), moved=mark)
        try:
            self._seal_file.write_sums(self._sums, range(1, len(self._sums) + 1) if first else changed)
            self._seal_file.write_base(base)
        except OSError:
            self._give_up_sums()
            raise
        self._base = base

    def _give_up_sums(self) -> None:
        """Those in the file are not the database's any more, and the log that has the pages in between may begin anew
        at any time. A start looks into all of the database then; the next time that it is sealed all are written. This
        is written over what is there, which takes no room on most disks."""
        self._base = replace(self._base, state=State.OPENING)
        with suppress(OSError):
            self._seal_file.write_base(self._base)

    def _take_in(self, mark: Mark, pages: int) -> list[int]:
        """Checksums of the pages that the log has brought since it was moved last."""
        done = self._base.moved.frames if self._base.moved.salts == mark.salts else 0
        found = dict(self._frames(done, mark.frames))
        known = len(self._sums)
        del self._sums[pages:]
        self._sums.extend([_UNKNOWN] * (pages - len(self._sums)))
        for page in range(known + 1, pages + 1):
            if page not in found:  # Taken and given back before it was written.
                found[page] = zlib.crc32(os.pread(self._pages, self._base.page_size, (page - 1) * self._base.page_size))
        for page, value in found.items():
            if page <= pages:
                self._sums[page - 1] = value
        return [page for page in found if page <= pages]

    def _frames(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The number and the checksum of the page in each of these frames of the log."""
        length = FRAME.size + self._base.page_size
        for first in range(start, stop, _FRAMES_AT_ONCE):
            count = min(_FRAMES_AT_ONCE, stop - first)
            data = memoryview(os.pread(self._log, count * length, HEADER.size + first * length))
            for at in range(0, len(data), length):
                yield FRAME.unpack(data[at : at + FRAME.size])[0], zlib.crc32(data[at + FRAME.size : at + length])


def _page_size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_size").fetchone()[0])
