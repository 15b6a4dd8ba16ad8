"""Single values that the store keeps in its database, where they are safe. Every function blocks."""

from __future__ import annotations

import sqlite3

EXPIRY_CLOCK = "expiry-clock"
SIGNING_KEY = "signing-key"
BORN = "born"

SCHEMA = "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
_WRITE = "INSERT OR REPLACE INTO kept VALUES (?, ?)"


def prepare(connection: sqlite3.Connection) -> None:
    connection.execute(SCHEMA)


def read(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
    return bytes(row[0]) if row is not None else None


def write(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute(*writing(name, value))


def writing(name: str, value: bytes) -> tuple[str, tuple[str, bytes]]:
    """For the store's writer."""
    return _WRITE, (name, value)


def number(value: bytes | None) -> float | None:
    return None if value is None else float(value)


def as_value(number: float) -> bytes:
    return repr(number).encode()
