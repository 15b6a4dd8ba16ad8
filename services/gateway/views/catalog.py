"""The lists of runs: small rows in a SQLite database in memory, with what is asked for indexed.

A hundred thousand rows take about 20 MB, and a page of them is found in a few milliseconds, so it is done on the loop.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from messages.runs import TASKS, Task
from services.gateway.http.paging import Page, PageQuery, Position, cursor_at, position_of
from services.gateway.views.catalog_table import COLUMNS, SCHEMA, WRITE
from shared.records.fold import RunState
from shared.records.view import begun, short_error, shown_progress
from voxloom.models import ExecutionSummary, RunError, Status, format_time

FLUSH_AT = 200
"""Changed runs after which their rows are written even if nobody asks for a list."""

_log = logging.getLogger("voxloom.gateway")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATUSES = tuple(Status)
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}

Row = tuple[str, int, int | None, int, int, str | None, float, int, int, int | None, str | None, str | None]
"""`started` is the submit time; `error` is JSON."""
_TASKS: tuple[Task, ...] = TASKS


class Algorithm(NamedTuple):
    """What rows say of their algorithm, kept once."""

    algorithm_id: str
    name: str
    major: str
    project: str


class EndedRow(NamedTuple):
    """`seconds` from submit to end."""

    algorithm: str
    major: str
    status: Status
    seconds: float


class OwnedRun(NamedTuple):
    run: str
    task: Task
    ended: bool


Sort = Literal["newest", "oldest", "longest", "shortest", "status"]


@dataclass(frozen=True)
class Query:
    """Which rows, and from where on. Without `status`, an algorithm or a project: of any. `within`: the only project
    that whoever asks may see; None: any."""

    page: PageQuery
    within: str | None
    status: Sequence[Status] = ()
    algorithm: str | None = None
    """An id, or a name without regard to case."""
    algorithm_major_version: str | None = None
    project: str | None = None
    since: datetime | None = None
    """Submitted then or later."""
    until: datetime | None = None
    """Submitted before."""
    sort: Sort = "newest"
    task: Task = "execution"
    submitted_by: str | None = None

    @property
    def order(self) -> str:
        return f"{self.task}s:{self.sort}"


class Order(NamedTuple):
    column: str
    """What is sorted by; then by the id."""
    direction: Literal["ASC", "DESC"]


_ORDERS: dict[Sort, Order] = {
    "newest": Order("started", "DESC"),
    "oldest": Order("started", "ASC"),
    "longest": Order("took", "DESC"),
    "shortest": Order("took", "ASC"),
    "status": Order("started", "DESC"),
}


@dataclass(slots=True, eq=False)
class Listed:
    """A run whose row may have changed: what to make the row of when it is asked for."""

    state: RunState
    progress: float = 0.0


class Catalog:
    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(SCHEMA)
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
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        self._write(self._row_of(run) for run in changed.values() if run.state.work is not None)

    def load(self, rows: Iterable[ExecutionSummary]) -> None:
        """Takes in rows as the recorder keeps them."""
        self._write(self._row_from(row) for row in rows)

    def has_ended(self, run: str) -> bool:
        """Whether there is a row of this run, and it says that the run is over."""
        found = self._database.execute("SELECT completed IS NOT NULL FROM runs WHERE id = ?", (run,)).fetchone()
        return bool(found and found[0])

    def project_of(self, run: str) -> str | None:
        """None where there is no row of this run."""
        self.flush()
        found = self._database.execute("SELECT algorithm FROM runs WHERE id = ?", (run,)).fetchone()
        return self._algorithms[found[0]].project if found else None

    def forget_before(self, moment: datetime) -> None:
        """Drops the rows of runs that had ended by then: their records have expired."""
        self._database.execute("DELETE FROM runs WHERE completed < ?", (_number(moment),))

    def count(self) -> dict[Status, int]:
        self.flush()
        counts = dict(self._database.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())
        return {status: counts.get(number, 0) for status, number in _NUMBERS.items()}

    def ended_runs(self, project: str) -> list[str]:
        """The ids of all executions of a project that are over."""
        self.flush()
        ended = self._database.execute("SELECT id, algorithm FROM runs WHERE task = 0 AND completed IS NOT NULL")
        return [run for run, algorithm in ended if self._algorithms[algorithm].project == project]

    def ended_before(self, project: str, tasks: Collection[Task], moment: datetime) -> list[str]:
        """The ids of runs of these tasks that a project has had, and that were over by then."""
        self.flush()
        found = self._database.execute("SELECT id, task, algorithm FROM runs WHERE completed < ?", (_number(moment),))
        mine = ((run, _TASKS[task]) for run, task, number in found if self._algorithms[number].project == project)
        return [run for run, task in mine if task in tasks]

    def of_project(self, project: str) -> list[OwnedRun]:
        """All runs of a project, of every task."""
        self.flush()
        found: list[OwnedRun] = []
        for number in [number for number, one in enumerate(self._algorithms) if one.project == project]:
            rows = self._database.execute(
                "SELECT id, task, completed IS NOT NULL FROM runs WHERE algorithm = ?", (number,)
            )
            found += [OwnedRun(run, _TASKS[task], bool(ended)) for run, task, ended in rows]
        return found

    def delete(self, runs: Iterable[str]) -> None:
        """Drops the rows of these, if they are over."""
        self.flush()
        self._database.executemany("DELETE FROM runs WHERE id = ? AND completed IS NOT NULL", ((run,) for run in runs))

    def ended_since(self, moment: datetime) -> list[EndedRow]:
        self.flush()
        found = self._database.execute(
            "SELECT algorithm, status, took FROM runs WHERE completed >= ?", (_number(moment),)
        )
        return [
            EndedRow(self._algorithms[number].name, self._algorithms[number].major, _STATUSES[status], took / 1e6)
            for number, status, took in found
        ]

    def submitted_since(self, moment: datetime) -> int:
        self.flush()
        found = self._database.execute("SELECT count(*) FROM runs WHERE started >= ?", (_number(moment),)).fetchone()
        return int(found[0])

    def page(self, query: Query) -> Page[ExecutionSummary]:
        """Raises InvalidInput for a cursor that is not of this list and sort."""
        self.flush()
        shape = (int, int, str) if query.sort == "status" else (int, str)
        after = position_of(query.page, query.order, *shape)
        algorithms = self._matching(query)
        if algorithms is not None and not algorithms:
            return Page([])
        limit = query.page.limit
        rows: list[Row] = []
        for status in _groups(query, after):
            sql, values = _select(query, status, algorithms, after, limit + 1 - len(rows))
            rows += self._database.execute(sql, values).fetchall()
        more = len(rows) > limit
        cursor = cursor_at(query.order, _position(query, rows[limit - 1])) if more else None
        return Page([self._summary(row) for row in rows[:limit]], cursor)

    def _matching(self, query: Query) -> list[int] | None:
        """The numbers of the algorithms asked for, each of one project; None: any."""
        if (query.algorithm, query.algorithm_major_version, query.project, query.within) == (None, None, None, None):
            return None
        folded = query.algorithm.casefold() if query.algorithm is not None else None
        return [
            number
            for number, algorithm in enumerate(self._algorithms)
            if (folded is None or algorithm.algorithm_id == query.algorithm or algorithm.name.casefold() == folded)
            and query.algorithm_major_version in (None, algorithm.major)
            and query.project in (None, algorithm.project)
            and query.within in (None, algorithm.project)
        ]

    def _write(self, rows: Iterable[Row]) -> None:
        made = list(rows)
        self._database.execute("BEGIN")
        try:
            self._database.executemany(WRITE, made)
        except (sqlite3.Error, OverflowError):
            self._write_apart(made)
        finally:
            self._database.execute("COMMIT")

    def _write_apart(self, rows: Iterable[Row]) -> None:
        """One row that cannot be written must not keep all others from the lists."""
        for row in rows:
            try:
                self._database.execute(WRITE, row)
            except (sqlite3.Error, OverflowError) as error:
                _log.warning("the lists do without the run %s: %s", row[0], error)

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
            _TASKS.index(state.work.task),
            _number_or_none(begun(state)),
            _json(short_error(state)),
            state.submitted_by,
        )

    def _row_from(self, row: ExecutionSummary) -> Row:
        algorithm = Algorithm(row.algorithm_id, row.algorithm_name, row.algorithm_major_version, row.project)
        return (
            row.execution_id,
            _parsed(row.time_submitted or row.time_started) or 0,  # earlier versions call the one by the other's name
            _parsed(row.time_completed),
            _NUMBERS[row.status],
            self._algorithm(algorithm),
            row.algorithm_minor_version,
            row.progress,
            row.attempt,
            _TASKS.index(row.task),
            _parsed(row.time_started),
            _json(row.error),
            row.submitted_by,
        )

    def _algorithm(self, algorithm: Algorithm) -> int:
        number = self._numbers.get(algorithm)
        if number is None:
            number = self._numbers[algorithm] = len(self._algorithms)
            self._algorithms.append(algorithm)
        return number

    def _summary(self, row: Row) -> ExecutionSummary:
        run, started, completed, status, number, minor, progress, attempt, task, began, error, submitter = row
        algorithm = self._algorithms[number]
        return ExecutionSummary(
            execution_id=run,
            algorithm_id=algorithm.algorithm_id,
            algorithm_name=algorithm.name,
            algorithm_major_version=algorithm.major,
            algorithm_minor_version=minor,
            status=_STATUSES[status],
            progress=progress,
            time_started=_text(began) if began is not None else None,
            time_submitted=_text(started),
            time_completed=_text(completed) if completed is not None else "",
            project=algorithm.project,
            attempt=attempt,
            task=_TASKS[task],
            error=RunError.model_validate_json(error) if error else None,
            submitted_by=submitter,
        )


def _groups(query: Query, after: Position | None) -> Sequence[Sequence[Status]]:
    """Which statuses are looked for together, in order: sorted by status, one after the other."""
    if query.sort != "status":
        return [query.status]
    begin = int(after[0]) if after is not None else -1
    return [[one] for one in _STATUSES if (not query.status or one in query.status) and _NUMBERS[one] >= begin]


def _select(
    query: Query, statuses: Sequence[Status], algorithms: list[int] | None, after: Position | None, limit: int
) -> tuple[str, list[Any]]:
    """One lookup for each status, since each finds its rows by index and in order, and of those the first."""
    column, direction = _ORDERS[query.sort]
    order = f"{column} {direction}, id {direction}"
    parts: list[str] = []
    values: list[Any] = []
    for status in dict.fromkeys(statuses) or [None]:
        where, given = _conditions(query, status, algorithms, _begin(query, status, after))
        # Only names and question marks of our own are put together here.
        parts.append(f"SELECT * FROM (SELECT {COLUMNS}, took FROM runs{where} ORDER BY {order} LIMIT ?)")  # noqa: S608
        values += [*given, limit]
    selected = f"SELECT {COLUMNS} FROM ({' UNION ALL '.join(parts)})"  # noqa: S608
    return f"{selected} ORDER BY {order} LIMIT ?", [*values, limit]


def _begin(query: Query, status: Status | None, after: Position | None) -> Position | None:
    """What the rows of this status come after: sorted by status, only those of the first one come after anything."""
    if after is None or query.sort != "status":
        return after
    return after[1:] if status is not None and after[0] == _NUMBERS[status] else None


def _conditions(
    query: Query, status: Status | None, algorithms: list[int] | None, after: Position | None
) -> tuple[str, list[Any]]:
    conditions: list[str] = ["task = ?"]
    values: list[Any] = [_TASKS.index(query.task)]
    if status is not None:
        conditions.append("status = ?")
        values.append(_NUMBERS[status])
    if algorithms is not None:
        # The `+` keeps SQLite from an index that would make it sort all it finds: in order it may stop early.
        several = f"+algorithm IN ({', '.join('?' * len(algorithms))})"
        conditions.append("algorithm = ?" if len(algorithms) == 1 else several)
        values += algorithms
    if query.submitted_by is not None:
        conditions.append("submitter = ?")
        values.append(query.submitted_by)
    for moment, comparison in ((query.since, ">="), (query.until, "<")):
        if moment is not None:
            conditions.append(f"started {comparison} ?")
            values.append(_number(moment))
    if after is not None:
        column, direction = _ORDERS[query.sort]
        conditions.append(f"({column}, id) {'>' if direction == 'ASC' else '<'} (?, ?)")
        values += after
    return f" WHERE {' AND '.join(conditions)}", values


def _position(query: Query, row: Row) -> Position:
    run, started, completed, status = row[:4]
    if query.sort == "status":
        return status, started, run
    took = completed - started if completed is not None else -1
    return (started if _ORDERS[query.sort].column == "started" else took), run


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _number_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else _number(moment)


def _parsed(text: str | None) -> int | None:
    return _number(datetime.fromisoformat(text)) if text else None


def _json(error: RunError | None) -> str | None:
    return None if error is None else error.model_dump_json(exclude_none=True)


def _text(number: int) -> str:
    return format_time(_EPOCH + number * _MICROSECOND)
