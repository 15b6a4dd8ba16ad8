"""Makes a bus that does not start usable again, with all that can be read. It deletes nothing: the damaged files stay
in a folder of their own. Everything here blocks."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from shared.bus.embedded import segments, tables
from shared.bus.embedded.database import FILE, VERSION
from shared.bus.embedded.folder import locked
from shared.sealed import inspection, mending, salvage
from shared.sealed.inspection import Damaged

_TABLES = {
    "segments": ("last", ("last", "time", "size", "heads", "bodies")),
    "queues": ("rowid", ("name", "history", "cursor", "beyond", "expires", "seen")),
    "delayed": ("id", ("id", "queue", "due", "tries", "head", "body")),
    "dead": ("id", ("id", "queue", "reason", "time", "parked", "head", "body")),
}


def repair(folder: Path) -> list[str]:
    """What was done, in sentences; nothing where nothing is damaged. Raises Misconfigured while a server runs."""
    if not folder.is_dir():
        return []
    with locked(folder):
        database = folder / FILE
        told = [f"One bit of {what} had flipped and was turned back." for what in mending.mend(database)]
        if _is_damaged(database):
            told += _rebuilt(folder, database)
        return told


def _is_damaged(database: Path) -> bool:
    try:
        verdict = inspection.inspect(database)
    except Damaged:
        return True
    return not (verdict.sums or verdict.is_new) and not _can_be_read(database)


def _can_be_read(database: Path) -> bool:
    aside = database.parent / "repair.check"
    try:
        copy = salvage.copy(database, aside)
        assert copy is not None
        with closing(sqlite3.connect(copy)) as connection:
            return salvage.is_sound(connection)
    finally:
        _remove(aside)


def _rebuilt(folder: Path, database: Path) -> list[str]:
    aside = folder / f"repair-{time.time_ns()}"
    new = folder / "journal.new"
    new.unlink(missing_ok=True)
    copy = salvage.copy(database, aside / "copy")
    with closing(sqlite3.connect(new)) as connection:
        connection.executescript(segments.SCHEMA + tables.SCHEMA + f"PRAGMA user_version = {VERSION};")
        count, newest = _fill(connection, copy) if copy is not None else (0, None)
        connection.commit()
    salvage.replace(database, new, aside)
    _remove(aside / "copy")
    until = f", the newest of {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(newest))} UTC" if newest else ""
    return [
        f"The journal of the bus was rebuilt with {count} groups of events{until}; the old files are in {aside}.",
        "Events beyond those are lost; runs that the records know go on by themselves.",
    ]


def _fill(connection: sqlite3.Connection, copy: Path) -> tuple[int, float | None]:
    count, newest = 0, None
    with closing(sqlite3.connect(copy)) as source:
        for name, (key, columns) in _TABLES.items():
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT OR IGNORE INTO {name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
            for row in salvage.rows(source, name, columns, key):
                connection.execute(statement, row)
                if name == "segments":
                    count, newest = count + 1, float(str(row[1]))
    return count, newest


def _remove(folder: Path) -> None:
    for path in folder.glob("*"):
        os.unlink(path)
    if folder.is_dir():
        folder.rmdir()
