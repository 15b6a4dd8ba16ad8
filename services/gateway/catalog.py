"""The list of executions: small rows in a SQLite database in memory, with what is asked for indexed.

A hundred thousand rows take about 20 MB, and a page of them is found in a few milliseconds, so it is done on the loop.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from shared.records.fold import RunState
from shared.records.view import shown_progress
from voxloom.errors import InvalidInput
from voxloom.models import ExecutionPage, ExecutionSummary, Status, format_time

FLUSH_AT = 200
"""Changed runs after which their rows are written even if nobody asks for a list."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATUSES = tuple(Status)
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}

_SCHEMA = """
CREATE TABLE runs (
    id TEXT NOT NULL UNIQUE, started INTEGER NOT NULL, completed INTEGER, status INTEGER NOT NULL,
    algorithm INTEGER NOT NULL, minor TEXT, progress REAL NOT NULL, attempt INTEGER NOT NULL
);
CREATE INDEX by_start ON runs (started);
CREATE INDEX by_status ON runs (status, started);
CREATE INDEX by_algorithm ON runs (algorithm, started);
"""
_WRITE = """
INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET completed = excluded.completed,
status = excluded.status, progress = excluded.progress, attempt = excluded.attempt
"""
_COLUMNS = "id, started, completed, status, algorithm, minor, progress, attempt"

Row = tuple[str, int, int | None, int, int, str | None, float, int]


class Algorithm(NamedTuple):
    """What rows say of their algorithm, kept once."""

    algorithm_id: str
    name: str
    major: str
    project: str


class Cursor(NamedTuple):
    """The last row of the page before."""

    started: int
    run: str


@dataclass(frozen=True)
class Query:
    """Which rows, and from where on. Without `status` or an algorithm: all."""

    limit: int
    cursor: Cursor | None = None
    status: Sequence[Status] = ()
    algorithm: str | None = None
    """An id, or a name without regard to case."""
    algorithm_major_version: str | None = None
    oldest_first: bool = False


@dataclass(slots=True, eq=False)
class Listed:
    """A run whose row may have changed: what to make the row of when it is asked for."""

    state: RunState
    progress: float = 0.0


class Catalog:
    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._algorithms: list[Algorithm] = []
        self._numbers: dict[Algorithm, int] = {}
        self._changed: dict[str, Listed] = {}

    def close(self) -> None:
        self._database.close()

    def touch(self, run: Listed) -> None:
        """The row of this run is to be written anew some time."""
        self._changed[run.state.run] = run
        if len(self._changed) >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        changed, self._changed = self._changed, {}
        self._write(self._row_of(run) for run in changed.values() if run.state.work is not None)

    def load(self, rows: Iterable[ExecutionSummary]) -> None:
        """Takes in rows as the recorder keeps them."""
        self._write(self._row_from(row) for row in rows)

    def has_ended(self, run: str) -> bool:
        """Whether there is a row of this run, and it says that the run is over."""
        found = self._database.execute("SELECT completed IS NOT NULL FROM runs WHERE id = ?", (run,)).fetchone()
        return bool(found and found[0])

    def forget_before(self, moment: datetime) -> None:
        """Drops the rows of runs that had ended by then: their records have expired."""
        self._database.execute("DELETE FROM runs WHERE completed < ?", (_number(moment),))

    def count(self) -> dict[Status, int]:
        self.flush()
        counts = dict(self._database.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())
        return {status: counts.get(number, 0) for status, number in _NUMBERS.items()}

    def page(self, query: Query) -> ExecutionPage:
        self.flush()
        algorithms = self._matching(query)
        if algorithms is not None and not algorithms:
            return ExecutionPage(items=[])
        sql, values = _select(query, algorithms)
        rows: list[Row] = self._database.execute(sql, values).fetchall()
        items = [self._summary(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        last = rows[query.limit - 1] if more else None
        return ExecutionPage(items=items, next_cursor=pack_cursor(Cursor(last[1], last[0])) if last else None)

    def _matching(self, query: Query) -> list[int] | None:
        """The numbers of the algorithms asked for; None: any."""
        if query.algorithm is None and query.algorithm_major_version is None:
            return None
        folded = query.algorithm.casefold() if query.algorithm is not None else None
        return [
            number
            for number, algorithm in enumerate(self._algorithms)
            if (folded is None or algorithm.algorithm_id == query.algorithm or algorithm.name.casefold() == folded)
            and query.algorithm_major_version in (None, algorithm.major)
        ]

    def _write(self, rows: Iterable[Row]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(_WRITE, rows)
        self._database.execute("COMMIT")

    def _row_of(self, run: Listed) -> Row:
        state, stage = run.state, run.state.stage
        assert state.work is not None
        pin = state.work.algorithm
        return (
            state.run,
            _number(state.submitted or _EPOCH),
            _number(stage.time) if stage and state.ended else None,
            _NUMBERS[state.status],
            self._algorithm(Algorithm(pin.algorithm_id, pin.name, pin.major, state.project)),
            pin.minor,
            shown_progress(state, run.progress),
            state.attempt,
        )

    def _row_from(self, row: ExecutionSummary) -> Row:
        algorithm = Algorithm(row.algorithm_id, row.algorithm_name, row.algorithm_major_version, row.project)
        return (
            row.execution_id,
            _number(datetime.fromisoformat(row.time_started)) if row.time_started else 0,
            _number(datetime.fromisoformat(row.time_completed)) if row.time_completed else None,
            _NUMBERS[row.status],
            self._algorithm(algorithm),
            row.algorithm_minor_version,
            row.progress,
            row.attempt,
        )

    def _algorithm(self, algorithm: Algorithm) -> int:
        number = self._numbers.get(algorithm)
        if number is None:
            number = self._numbers[algorithm] = len(self._algorithms)
            self._algorithms.append(algorithm)
        return number

    def _summary(self, row: Row) -> ExecutionSummary:
        run, started, completed, status, number, minor, progress, attempt = row
        algorithm = self._algorithms[number]
        return ExecutionSummary(
            execution_id=run,
            algorithm_id=algorithm.algorithm_id,
            algorithm_name=algorithm.name,
            algorithm_major_version=algorithm.major,
            algorithm_minor_version=minor,
            status=_STATUSES[status],
            progress=progress,
            time_started=_text(started),
            time_completed=_text(completed) if completed is not None else "",
            project=algorithm.project,
            attempt=attempt,
        )


def _select(query: Query, algorithms: list[int] | None) -> tuple[str, list[Any]]:
    """One lookup for each status, since each finds its rows by index and in order, and of those the first."""
    order = "started ASC, id ASC" if query.oldest_first else "started DESC, id DESC"
    parts: list[str] = []
    values: list[Any] = []
    for status in dict.fromkeys(query.status) or [None]:
        where, given = _conditions(query, status, algorithms)
        # Only names and question marks of our own are put together here.
        parts.append(f"SELECT * FROM (SELECT {_COLUMNS} FROM runs{where} ORDER BY {order} LIMIT ?)")  # noqa: S608
        values += [*given, query.limit + 1]
    return f"{' UNION ALL '.join(parts)} ORDER BY {order} LIMIT ?", [*values, query.limit + 1]


def _conditions(query: Query, status: Status | None, algorithms: list[int] | None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if status is not None:
        conditions.append("status = ?")
        values.append(_NUMBERS[status])
    if algorithms is not None:
        # The `+` keeps SQLite from an index that would make it sort all it finds: by time it may stop early.
        several = f"+algorithm IN ({', '.join('?' * len(algorithms))})"
        conditions.append("algorithm = ?" if len(algorithms) == 1 else several)
        values += algorithms
    if query.cursor is not None:
        conditions.append(f"(started, id) {'>' if query.oldest_first else '<'} (?, ?)")
        values += query.cursor
    return f" WHERE {' AND '.join(conditions)}" if conditions else "", values


def pack_cursor(cursor: Cursor) -> str:
    body = struct.pack(">q", cursor.started) + cursor.run.encode()
    return base64.urlsafe_b64encode(_mark(body) + body).decode().rstrip("=")


def unpack_cursor(text: str) -> Cursor:
    """Raises InvalidInput for what `pack_cursor` has not made."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        mark, body = data[:4], data[4:]
        if len(body) > 8 and mark == _mark(body):
            return Cursor(struct.unpack(">q", body[:8])[0], body[8:].decode())
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput(
        "This cursor is not one of ours; take it from the page before, or leave it out to begin anew.",
        code="request_validation_error",
        details={"errors": [{"loc": ["cursor"], "msg": "must be the cursor of a page of this list"}]},
    )


def _mark(body: bytes) -> bytes:
    return hashlib.blake2s(body, digest_size=4).digest()


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _text(number: int) -> str:
    return format_time(_EPOCH + number * _MICROSECOND)
