"""The SQL of the store. Every function takes the connection it works on and blocks.

A statement costs a hand-over of the interpreter's lock, which is dear while other threads are busy; so a group of
writes is a handful of statements over many rows. Their sizes are powers of two, so that all of them stay prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from shared.objects.embedded import kept
from shared.objects.embedded.changes import Fold, not_found
from shared.objects.embedded.rows import Address, Row
from voxloom.errors import Misconfigured

VERSION = 2
MOST_ROWS = 64
"""Rows in one statement."""

_SCHEMA = """
CREATE TABLE objects (
  id INTEGER PRIMARY KEY,
  collection TEXT NOT NULL,
  key BLOB NOT NULL,
  size INTEGER NOT NULL,
  etag TEXT NOT NULL,
  modified INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  tags TEXT NOT NULL,
  since INTEGER,
  file TEXT,
  body BLOB,
  digest TEXT,
  UNIQUE (collection, key)
);
CREATE INDEX objects_since ON objects (collection, since) WHERE since IS NOT NULL;
CREATE INDEX objects_file ON objects (file) WHERE file IS NOT NULL;
CREATE TABLE expiry (collection TEXT PRIMARY KEY, days REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE probe (id INTEGER PRIMARY KEY, time INTEGER NOT NULL);
"""
COLUMNS = ("collection", "key", "size", "etag", "modified", "metadata", "tags", "since", "file", "body")
_WITHOUT_BODY = "collection, key, size, etag, modified, metadata, tags, since, file"
_WHOLE = f"{_WITHOUT_BODY}, body"
_WRITTEN = f"{_WHOLE}, digest"

T = TypeVar("T")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that any one thread at a time may use; transactions are ours to begin."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5)
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def prepare(connection: sqlite3.Connection, *, mode: str = "WAL") -> None:
    """Makes the tables, or checks that they are ours. Raises Misconfigured."""
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise Misconfigured("The object store was written by a newer Voxloom; install that version or use other data.")
    if version == 1:
        connection.executescript(
            f"BEGIN IMMEDIATE; ALTER TABLE objects ADD COLUMN digest TEXT; PRAGMA user_version = {VERSION}; COMMIT;"
        )
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    kept.prepare(connection)


def columns_in(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Those of `Row` that a database has, in its order: one of an older version has no digests."""
    has_digest = any(column[1] == "digest" for column in connection.execute("PRAGMA table_info(objects)"))
    return (*COLUMNS, "digest") if has_digest else COLUMNS


def load(connection: sqlite3.Connection, wanted: Sequence[Address]) -> dict[Address, Row]:
    """The rows among `wanted` that are there, without their bodies."""
    found: dict[Address, Row] = {}
    for some in _pieces(wanted):
        statement = (
            f"WITH wanted (c, k) AS (VALUES {_marks(2, len(some))}) SELECT {_WITHOUT_BODY}, NULL, id, digest "  # noqa: S608 - marks only
            "FROM wanted CROSS JOIN objects ON collection = c AND key = k"
        )
        for values in connection.execute(statement, _flat(some)):
            row = Row(*values)
            found[row.address] = row
    return found


def save(connection: sqlite3.Connection, fold: Fold) -> None:
    """Writes what a group of operations has made of its rows."""
    for ids in _pieces(fold.dropped()):
        connection.execute(f"DELETE FROM objects WHERE id IN ({_list(len(ids))})", ids)  # noqa: S608 - marks only
    for rows in _pieces(fold.written()):
        connection.execute(_upsert(len(rows)), _flat((*row[:10], row.digest) for row in rows))
    for row in fold.changed():
        values = (row.tags, row.since, row.digest, row.id)
        connection.execute("UPDATE objects SET tags = ?, since = ?, digest = ? WHERE id = ?", values)


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Many rows, in a transaction of its own."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_upsert(1), ((*row[:10], row.digest) for row in rows))
    connection.execute("COMMIT")


def whole(connection: sqlite3.Connection, address: Address) -> Row:
    """The row with its body. Raises NotFound."""
    statement = f"SELECT {_WHOLE}, NULL, digest FROM objects WHERE collection = ? AND key = ?"  # noqa: S608 - column names only
    values = connection.execute(statement, address).fetchone()
    if values is None:
        raise not_found(address)
    return Row(*values)


def page(connection: sqlite3.Connection, collection: str, prefix: bytes, after: bytes, limit: int) -> list[Row]:
    """Rows without bodies in the order of their keys, from behind `after` on."""
    statement = (
        f"SELECT {_WITHOUT_BODY}, NULL, NULL, digest FROM objects "  # noqa: S608 - column names only
        "WHERE collection = ? AND key >= ? AND key > ? AND key < ? "
        "ORDER BY key LIMIT ?"
    )
    # No key is beyond its prefix and 0xFF: that byte is never part of UTF-8.
    bounds = (collection, prefix, after, prefix + b"\xff", limit)
    return [Row(*values) for values in connection.execute(statement, bounds)]


def expiry(connection: sqlite3.Connection) -> dict[str, float]:
    """Days until objects expire, by collection."""
    return dict(connection.execute("SELECT collection, days FROM expiry"))


def expired(connection: sqlite3.Connection, collection: str, until: int, limit: int) -> list[Address]:
    statement = "SELECT collection, key FROM objects WHERE collection = ? AND since <= ? ORDER BY since LIMIT ?"
    return connection.execute(statement, (collection, until, limit)).fetchall()


def without_digest(connection: sqlite3.Connection, since: int, limit: int) -> list[Row]:
    """Rows of files that have no digest, written at `since` or later."""
    statement = (
        f"SELECT {_WITHOUT_BODY} FROM objects "  # noqa: S608 - column names only
        "WHERE file IS NOT NULL AND digest IS NULL AND modified >= ? LIMIT ?"
    )
    return [Row(*values) for values in connection.execute(statement, (since, limit))]


def files_kept(connection: sqlite3.Connection, files: Sequence[str]) -> set[str]:
    """Those of `files` that an object consists of."""
    kept: set[str] = set()
    for some in _pieces(files):
        statement = f"SELECT file FROM objects WHERE file IN ({_list(len(some))})"  # noqa: S608 - marks only
        kept.update(file for (file,) in connection.execute(statement, some))
    return kept


def files(connection: sqlite3.Connection) -> Generator[tuple[str, int], None, None]:
    """All files that objects consist of, with their sizes."""
    yield from connection.execute("SELECT file, size FROM objects WHERE file IS NOT NULL")


def with_files(connection: sqlite3.Connection) -> Iterator[Row]:
    """The rows of all objects that have a file."""
    statement = f"SELECT {_WITHOUT_BODY} FROM objects WHERE file IS NOT NULL"  # noqa: S608 - column names only
    for values in connection.execute(statement).fetchall():
        yield Row(*values)


def newest(connection: sqlite3.Connection) -> int | None:
    """When the newest object was written, in microseconds since 1970; None where there is none that expires."""
    latest: int | None = None
    for (collection,) in connection.execute("SELECT collection FROM expiry"):
        statement = "SELECT max(since) FROM objects WHERE collection = ? AND since IS NOT NULL"
        (since,) = connection.execute(statement, (collection,)).fetchone()
        latest = max(filter(None, (latest, since)), default=None)
    return latest


def _upsert(rows: int) -> str:
    return (
        f"INSERT INTO objects ({_WRITTEN}) VALUES {_marks(11, rows)} ON CONFLICT (collection, key) DO UPDATE SET "  # noqa: S608 - marks only
        "size = excluded.size, etag = excluded.etag, modified = excluded.modified, metadata = excluded.metadata, "
        "tags = excluded.tags, since = excluded.since, file = excluded.file, body = excluded.body, "
        "digest = excluded.digest"
    )


def _pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in slices of MOST_ROWS, 32, 16 … 1: few different lengths, so few different statements."""
    start = 0
    size = MOST_ROWS
    while start < len(items):
        while size > len(items) - start:
            size //= 2
        yield items[start : start + size]
        start += size


def _marks(columns: int, rows: int) -> str:
    return ", ".join([f"({_list(columns)})"] * rows)


def _list(length: int) -> str:
    return ", ".join("?" * length)


def _flat(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [value for row in rows for value in row]
