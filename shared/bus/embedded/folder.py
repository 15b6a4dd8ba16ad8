"""The bus's folder: made, claimed for one process, its journal opened.

journal.sqlite  all that is kept
lock            held while a process has the bus open
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from shared.bus.embedded.database import Database, NewerDatabase
from shared.bus.embedded.failures import in_use, newer, unusable
from shared.bus.embedded.queues import Bindings
from shared.bus.embedded.rows import Backlog, QueueRow, Wanted
from shared.sealed.lock import held, lock


@dataclass(frozen=True)
class Claim:
    """What a process has that owns the folder."""

    lock: int
    database: Database
    reader: Database
    queues: list[tuple[QueueRow, Backlog]]
    last_delayed: int

    def unlock(self) -> None:
        os.close(self.lock)

    def release(self) -> None:
        """Gives all back, where nobody has begun to use it."""
        self.reader.close()
        self.database.close()
        self.unlock()


def claim(folder: Path) -> Claim:
    """Raises Misconfigured, with a sentence for whoever starts the server."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = lock(folder, in_use)
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        return _open(folder, descriptor)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, NewerDatabase):
            raise newer(folder, error) from error
        if isinstance(error, OSError | sqlite3.Error):
            raise unusable(folder, error) from error
        raise


def locked(folder: Path) -> AbstractContextManager[None]:
    """Claims the folder for a while, without opening anything in it. Raises Misconfigured while somebody has it."""
    return held(folder, in_use)


def _open(folder: Path, descriptor: int) -> Claim:
    database = Database(folder)
    try:
        return Claim(
            lock=descriptor,
            database=database,
            queues=_queues(database),
            last_delayed=database.tables.last_delayed(),
            reader=Database(folder, read_only=True),
        )
    except BaseException:
        database.close()
        raise


def _queues(database: Database) -> list[tuple[QueueRow, Backlog]]:
    rows = database.tables.queues()
    backlogs = database.segments.count_backlogs({row.name: (row, _wanted(row)) for row in rows})
    for name, count in database.tables.delayed_counts().items():
        if name in backlogs:
            backlogs[name].delayed = count
    return [(row, backlogs[row.name]) for row in rows]


def _wanted(row: QueueRow) -> Wanted:
    bindings = Bindings(row.history)
    return lambda seq, keys, only: bindings.wants(seq, keys, row.name, only)
