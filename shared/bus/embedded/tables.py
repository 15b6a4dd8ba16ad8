"""What the bus keeps beside its journal.

queues   a cursor each, and the patterns bound to it
delayed  messages whose handler failed, until they are due
dead     messages that nobody could handle
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

import orjson

from shared.bus.embedded.rows import (
    DeadRow,
    DelayedRow,
    Forget,
    History,
    QueueRow,
    Saving,
    Step,
    pack_message,
    unpack_message,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS queues (
    name TEXT PRIMARY KEY, history BLOB NOT NULL, cursor INTEGER NOT NULL, beyond BLOB NOT NULL,
    expires REAL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS delayed (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL,
    head BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS delayed_by_due ON delayed (queue, due);
CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, reason TEXT NOT NULL, time REAL NOT NULL,
    parked INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
"""

_DEAD = "SELECT queue, reason, time, parked, head, body, id FROM dead"


class Tables:
    """Raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- queues ---

    def declare(self, name: str, patterns: tuple[str, ...], expires: float | None, last: int) -> QueueRow:
        """Makes a queue that starts after offset `last`, or gives it these patterns from there on."""
        known = self.queue(name)
        if known is None:
            row = QueueRow(name, ((last, patterns),), last, frozenset(), expires, time.time())
        elif known.history[-1][1] != patterns or known.expires != expires:
            history = revised(known.history, patterns, last, known.cursor)
            row = QueueRow(name, history, known.cursor, known.beyond, expires, known.seen)
        else:
            return known
        self._connection.execute(
            "INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?, ?, ?)",
            (name, orjson.dumps(row.history), row.cursor, orjson.dumps(sorted(row.beyond)), expires, row.seen),
        )
        return row

    def queue(self, name: str) -> QueueRow | None:
        row = self._connection.execute("SELECT * FROM queues WHERE name = ?", (name,)).fetchone()
        return _queue_row(*row) if row else None

    def queues(self) -> list[QueueRow]:
        rows = self._connection.execute("SELECT * FROM queues ORDER BY name").fetchall()
        return [_queue_row(*row) for row in rows]

    def delete_queue(self, name: str) -> None:
        self._connection.execute("DELETE FROM queues WHERE name = ?", (name,))
        self._connection.execute("DELETE FROM delayed WHERE queue = ?", (name,))

    def save(self, saving: Saving) -> None:
        """Writes cursors, and what became of messages that failed. Cursors of queues that are gone are left out."""
        self._connection.executemany(
            "UPDATE queues SET cursor = ?, beyond = ?, seen = ? WHERE name = ?",
            [(row.cursor, orjson.dumps(row.beyond), row.seen, row.queue) for row in saving.cursors],
        )
        for step in saving.steps:
            self._save_step(step)

    def _save_step(self, step: Step) -> None:
        match step:
            case Forget():
                self._connection.execute("DELETE FROM delayed WHERE id = ?", (step.id,))
            case DelayedRow():
                self._connection.execute(
                    "INSERT OR REPLACE INTO delayed VALUES (?, ?, ?, ?, ?, ?)",
                    (step.id, step.queue, step.due, step.tries, *pack_message(step.message)),
                )
            case DeadRow():
                self._connection.execute(
                    "INSERT INTO dead (queue, reason, time, parked, head, body) VALUES (?, ?, ?, ?, ?, ?)",
                    (step.queue, step.reason, step.time, step.parked, *pack_message(step.message)),
                )

    # --- delayed ---

    def delayed_counts(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT queue, count(*) FROM delayed GROUP BY queue").fetchall())

    def last_delayed(self) -> int:
        """The highest id in use."""
        return int(self._connection.execute("SELECT max(id) FROM delayed").fetchone()[0] or 0)

    def due(self, queue: str, now: float, taken: frozenset[int], limit: int) -> tuple[list[DelayedRow], float | None]:
        """Up to `limit` delayed messages that are due and not yet taken, and when the next one is."""
        rows = self._connection.execute(
            "SELECT id, due FROM delayed WHERE queue = ? ORDER BY due LIMIT ?", (queue, len(taken) + limit + 1)
        ).fetchall()
        free = [(identity, due) for identity, due in rows if identity not in taken]
        ready = [identity for identity, due in free[:limit] if due <= now]
        rest = free[len(ready) :]
        return [self._delayed(identity) for identity in ready], rest[0][1] if rest else None

    def _delayed(self, identity: int) -> DelayedRow:
        queue, due, tries, head, body = self._connection.execute(
            "SELECT queue, due, tries, head, body FROM delayed WHERE id = ?", (identity,)
        ).fetchone()
        return DelayedRow(identity, queue, due, tries, unpack_message(head, body))

    # --- dead ---

    def dead_letters(self, limit: int) -> list[DeadRow]:
        rows = self._connection.execute(f"{_DEAD} ORDER BY id LIMIT ?", (limit,)).fetchall()
        return [_dead_row(*row) for row in rows]

    def dead_letter(self, identity: int) -> DeadRow | None:
        row = self._connection.execute(f"{_DEAD} WHERE id = ?", (identity,)).fetchone()
        return _dead_row(*row) if row else None

    def forget_dead(self, identities: Iterable[int]) -> None:
        self._connection.executemany("DELETE FROM dead WHERE id = ?", [(identity,) for identity in identities])


def revised(history: History, patterns: tuple[str, ...], last: int, cursor: int) -> History:
    """The history of a queue's patterns with those that hold after offset `last`; what the cursor has passed goes."""
    if history[-1][1] != patterns:
        history = (*(step for step in history if step[0] < last), (last, patterns))
    passed = sum(since <= cursor for since, _ in history)
    return history[max(passed - 1, 0) :]


def _queue_row(name: str, history: bytes, cursor: int, beyond: bytes, expires: float | None, seen: float) -> QueueRow:
    known: History = tuple((since, tuple(patterns)) for since, patterns in orjson.loads(history))
    return QueueRow(name, known, cursor, frozenset(orjson.loads(beyond)), expires, seen)


def _dead_row(queue: str, reason: str, when: float, parked: int, head: bytes, body: bytes, identity: int) -> DeadRow:
    return DeadRow(queue, reason, when, bool(parked), unpack_message(head, body), identity)
