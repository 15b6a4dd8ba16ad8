"""The one thread that writes to the database, in groups.

All operations that wait when it is free become one transaction, and so share one fsync. Whether an operation may
happen is judged inside that transaction, in order of arrival.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from shared.objects.disk.failures import FAILURES, closed, unavailable
from shared.objects.embedded import table
from shared.objects.embedded.changes import Change, Fold, addresses, files_of
from shared.objects.embedded.manifest import Manifest
from shared.objects.embedded.rows import Address, Row
from shared.sealed.guard import Guard
from shared.sealed.watch import Gone
from voxloom.errors import StoreUnavailable, VoxloomError

MOST_OPERATIONS = 512
"""In one transaction."""

IDLE = 0.5
"""Seconds without work after which the write-ahead log is moved into the database."""

log = logging.getLogger("voxloom.objects")

Statement = tuple[str, Sequence[Any]]
Touched = dict[Address, Row | None]
Outcome = int | VoxloomError


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """`changes` happen together or not at all; `done` gets the number of rows changed, or the error.

    With its submission the writer owns the files that the changes bring: they become part of the store, or go.
    """

    changes: Sequence[Change]
    done: asyncio.Future[int]
    statements: Sequence[Statement] = ()


class Writer:
    """`on_commit` gets, on the loop, every row that a group has touched, before anybody hears of the outcome;
    a row whose body is not known, or that may or may not have changed, is None. `on_garbage` gets, in the writer's
    thread, files that nothing names any more."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        guard: Guard,
        manifest: Manifest,
        *,
        on_commit: Callable[[Touched], None],
        on_garbage: Callable[[list[str]], None],
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._manifest = manifest
        self._on_commit = on_commit
        self._on_garbage = on_garbage
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[Operation | None] = SimpleQueue()
        self._doubtful: list[str] = []
        self._closed = False
        self._thread = Thread(target=self._run, name="objects.writer", daemon=True)
        self._thread.start()

    async def write(self, changes: Sequence[Change], statements: Sequence[Statement] = ()) -> int:
        """Returns once it is on disk. A caller that is cancelled before its turn leaves nothing."""
        if self._closed:
            self._on_garbage(files_of(changes))
            raise closed()
        done: asyncio.Future[int] = self._loop.create_future()
        self._waiting.put(Operation(changes, done, statements))
        return await done

    async def close(self) -> None:
        """Writes what waits, then ends the thread."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while group := self._next_group():
            touched, outcomes = self._perform(group)
            try:
                self._loop.call_soon_threadsafe(self._settle, touched, outcomes)
            except RuntimeError:  # The loop is closed: nobody is left to be told, nor to write for.
                break
        self._guard.close(self._connection)

    def _next_group(self) -> list[Operation]:
        """Waits for work; empty when there will be none."""
        first = self._first()
        if first is None:
            return []
        group = [first]
        while len(group) < MOST_OPERATIONS:
            try:
                operation = self._waiting.get_nowait()
            except Empty:
                break
            if operation is None:
                self._waiting.put(None)
                break
            group.append(operation)
        return group

    def _first(self) -> Operation | None:
        try:
            return self._waiting.get(timeout=IDLE)
        except Empty:
            self._checkpoint()
            return self._waiting.get()

    def _checkpoint(self) -> None:
        try:
            self._guard.checkpoint(self._connection)
        except FAILURES as error:
            log.warning("the object store's log could not be moved into its database: %s", error)

    def _perform(self, group: list[Operation]) -> tuple[Touched, list[tuple[Operation, Outcome]]]:
        """One transaction. Whatever happens, every operation gets an outcome and its files an owner."""
        try:
            self._guard.watch.check()
            fold, outcomes = self._transact(group)
            self._guard.committed(self._connection)
            self._note(fold.written())
        except Gone as error:
            return self._undo(group, error)
        except Exception as error:
            # Also the unexpected must reach the callers, and must not end the thread all writes depend on.
            log.exception("a group of %d writes to the object store failed", len(group))
            return self._undo(group, error)
        refused = [files_of(operation.changes) for operation, outcome in outcomes if isinstance(outcome, VoxloomError)]
        self._on_garbage([*fold.garbage, *self._doubtful, *(file for files in refused for file in files)])
        self._doubtful = []
        touched: Touched = {address: row if row and row.id is None else None for address, row in fold.after.items()}
        return touched, outcomes

    def _note(self, rows: Sequence[Row]) -> None:
        """The commit stands whatever happens here."""
        try:
            self._manifest.add(rows)
        except OSError as error:
            log.warning("what files there are could not be noted: %s", error)

    def _transact(self, group: list[Operation]) -> tuple[Fold, list[tuple[Operation, Outcome]]]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        fold = Fold(table.load(connection, addresses(operation.changes for operation in group)))
        outcomes = [(operation, _apply(fold, operation)) for operation in group]
        table.save(connection, fold)
        for operation in group:
            for statement, values in operation.statements:
                connection.execute(statement, values)
        connection.execute("COMMIT")
        return fold, outcomes

    def _undo(self, group: list[Operation], error: Exception) -> tuple[Touched, list[tuple[Operation, Outcome]]]:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("a failed write to the object store could not be rolled back")
        # After a crash now, the log might still be read as if the transaction had happened. The next one that
        # succeeds takes its place there, and until then its files stay.
        self._doubtful += [file for operation in group for file in files_of(operation.changes)]
        touched: Touched = dict.fromkeys(addresses(operation.changes for operation in group))
        return touched, [(operation, _told(error)) for operation in group]

    def _settle(self, touched: Touched, outcomes: list[tuple[Operation, Outcome]]) -> None:
        self._on_commit(touched)
        for operation, outcome in outcomes:
            if operation.done.done():
                continue
            if isinstance(outcome, VoxloomError):
                operation.done.set_exception(outcome)
            else:
                operation.done.set_result(outcome)


def _apply(fold: Fold, operation: Operation) -> Outcome:
    if operation.done.cancelled():
        return StoreUnavailable("The write was given up before its turn came.")
    try:
        return fold.apply(operation.changes)
    except VoxloomError as error:
        return error


def _told(error: Exception) -> StoreUnavailable:
    return unavailable(error) if isinstance(error, FAILURES) else StoreUnavailable("The object store failed.")
