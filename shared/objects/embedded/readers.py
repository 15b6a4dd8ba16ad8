"""Threads that read the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock, local
from typing import Concatenate, ParamSpec, TypeVar

from shared.objects.disk.threads import Pool
from shared.objects.embedded import table
from shared.sealed.watch import Watch

P = ParamSpec("P")
T = TypeVar("T")


class Readers(Pool):
    """Threads that each have a connection to read with."""

    def __init__(self, name: str, threads: int, database: Path, watch: Watch) -> None:
        super().__init__(name, threads)
        self._database = database
        self._watch = watch
        self._own = local()
        self._lock = Lock()
        self._connections: list[sqlite3.Connection] = []

    async def query(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.run(lambda: work(self._connection(), *args, **kwargs))

    async def close(self) -> None:
        await super().close()
        for connection in self._connections:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        return connection or self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._watch.check()  # A connection to the database of another folder would read that, and tidy it up.
        connection = table.connect(self._database)
        connection.execute("PRAGMA query_only = ON")
        self._own.connection = connection
        with self._lock:
            self._connections.append(connection)
        return connection
