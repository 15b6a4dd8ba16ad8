"""Scrubs the folder of an embedded store, whether or not a server has it open: the index is only read, a portion at a
time, and files never change. Everything here blocks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from shared.objects.embedded.folder import DATABASE
from shared.objects.embedded.rows import etag_of
from shared.objects.hashing import digest_at
from shared.objects.scrub import Scrubbed, State, expected, judge
from voxloom.errors import Misconfigured

_ROWS_AT_ONCE = 64
_TRIES = 3
_WAIT_SECS = 30.0


class _Row(NamedTuple):
    id: int
    collection: str
    key: bytes
    size: int
    etag: str
    file: str | None
    body: bytes | None
    digest: str | None

    def now(self, state: State, detail: str = "", digest: str | None = None) -> Scrubbed:
        key = self.key.decode(errors="replace")
        return Scrubbed(self.collection, key, self.size, state, detail, self.etag, digest)


def scrub(folder: Path) -> Iterator[Scrubbed]:
    """Every object. Raises Misconfigured."""
    database = folder / DATABASE
    if not database.is_file():
        raise Misconfigured(
            f"There is no object store in {folder}: {DATABASE} is not there. Name the server's data folder with "
            "--data, or restore the file from a backup."
        )
    try:
        with closing(_connect(database)) as connection:
            for row in _rows(connection):
                found = _look(connection, folder, row)
                if found is not None:
                    yield found
    except sqlite3.Error as error:
        yield Scrubbed("", "", 0, State.UNREADABLE, f"{database}: {error}")


def _connect(database: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(database.resolve()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECS, isolation_level=None, check_same_thread=False)


def _rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    last = 0
    while some := _page(connection, "id > ? ORDER BY id LIMIT ?", last, _ROWS_AT_ONCE):
        yield from some
        last = some[-1].id


def _page(connection: sqlite3.Connection, which: str, *values: int) -> list[_Row]:
    # A folder that no server of this version has opened yet knows of no digests.
    known = {column[1] for column in connection.execute("PRAGMA table_info(objects)")}
    digest = "digest" if "digest" in known else "NULL"
    statement = f"SELECT id, collection, key, size, etag, file, body, {digest} FROM objects WHERE {which}"  # noqa: S608 - ours
    return [_Row(*found) for found in connection.execute(statement, values)]


def _look(connection: sqlite3.Connection, folder: Path, row: _Row) -> Scrubbed | None:
    """None: the object was deleted meanwhile."""
    for _ in range(_TRIES):
        found = _judged(folder, row)
        if not found.state.is_loss or row.file is None:
            return found
        # A server may have replaced it just now.
        again = _page(connection, "id = ?", row.id)
        if not again or again[0].key != row.key:
            return None
        if again[0].file == row.file:
            return found
        row = again[0]
    return found


def _judged(folder: Path, row: _Row) -> Scrubbed:
    if row.file is None:
        fine = etag_of(row.body or b"") == row.etag and len(row.body or b"") == row.size
        return row.now(State.FINE if fine else State.DAMAGED, "" if fine else f"in {DATABASE}")
    path = folder / "objects" / row.file
    try:
        size, found = path.stat().st_size, digest_at(path)
    except FileNotFoundError:
        return row.now(State.MISSING, str(path))
    except OSError as error:
        return row.now(State.UNREADABLE, f"{path}: {error.strerror}")
    if size != row.size:
        return row.now(State.DAMAGED, f"{path} has {size} bytes instead of {row.size}")
    state = judge(expected(row.collection, row.key.decode(errors="replace"), row.digest), found)
    return row.now(state, "" if state is State.FINE else str(path), found)
