"""Reads from a damaged database what can be read. Everything here blocks."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.sealed.inspection import Verdict, inspect, log_of, seal_of

_ROWS_AT_ONCE = 256

log = logging.getLogger("voxloom.folder")

Values = tuple[object, ...]


def copy(database: Path, target: Path) -> Path | None:
    """A copy to read from, with its log where that belongs to it; None where there is no database."""
    if not database.exists():
        return None
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(database, target / database.name)
    if log_of(database).exists() and not _is_complete_alone(database, target):
        shutil.copyfile(log_of(database), log_of(target / database.name))
    return target / database.name


def _is_complete_alone(database: Path, target: Path) -> bool:
    """Whether the database has all, and the log is another's: with its seal, but without the log, it is sound."""
    if not seal_of(database).exists():
        return False
    shutil.copyfile(seal_of(database), seal_of(target / database.name))
    try:
        verdict = inspect(target / database.name)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not sound
        log.info("%s is not complete without its log: %s", database, error)
        verdict = Verdict()
    seal_of(target / database.name).unlink()
    return verdict.sums


def is_sound(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def rows(connection: sqlite3.Connection, table: str, columns: Sequence[str], key: str) -> Iterator[Values]:
    """All rows that can be read, in the order of `key`, a whole number. What lies on damaged pages is left out."""
    last = _last(connection, table, key)
    names = ", ".join(columns)
    statement = f"SELECT {names} FROM {table} WHERE {key} BETWEEN ? AND ? ORDER BY {key}"  # noqa: S608 - our own names
    for start in range(0, last + 1, _ROWS_AT_ONCE):
        yield from _some(connection, statement, start, start + _ROWS_AT_ONCE - 1)


def _last(connection: sqlite3.Connection, table: str, key: str) -> int:
    try:
        return int(connection.execute(f"SELECT max({key}) FROM {table}").fetchone()[0] or 0)  # noqa: S608 - our own names
    except sqlite3.DatabaseError:
        return 0


def _some(connection: sqlite3.Connection, statement: str, first: int, last: int) -> list[Values]:
    try:
        return connection.execute(statement, (first, last)).fetchall()
    except sqlite3.DatabaseError:
        if first == last:
            return []
    middle = (first + last) // 2
    return _some(connection, statement, first, middle) + _some(connection, statement, middle + 1, last)


def replace(database: Path, new: Path, aside: Path) -> None:
    """`new` takes the place of the database, whose files go `aside`; nothing is deleted."""
    aside.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (database, log_of(database), database.with_name(f"{database.name}-shm"), seal_of(database)):
        if path.exists():
            os.replace(path, aside / path.name)
    os.replace(new, database)
