"""The one thread that writes the journal, in groups: all that waits when it is free becomes one commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from shared.bus.embedded.database import Database
from shared.bus.embedded.failures import unavailable
from shared.bus.embedded.rows import Entry
from shared.sealed.watch import Gone
from voxloom.errors import BusUnavailable

T = TypeVar("T")

MOST_ENTRIES = 4096
"""In one commit, as far as they were not published as one."""

CLOSE_SECS = 30.0

log = logging.getLogger("voxloom.bus")


@dataclass(slots=True, eq=False)
class Append:
    """Entries to be written as one, with their heads."""

    entries: Sequence[Entry]
    heads: Sequence[bytes]
    done: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class Act:
    """Something else to be done in the writer's transaction; `then` gets its result, on the loop, in its turn."""

    work: Callable[[Database], Any]
    then: Callable[[Any], None] | None
    done: asyncio.Future[Any]
    result: Any = None


Job = Append | Act


class Writer:
    """Jobs happen in the order in which they were given, and the loop hears of them in that order.

    `on_append` gets, on the loop, entries that have just been committed, before their publisher hears of it.
    """

    def __init__(self, database: Database, on_append: Callable[[Sequence[Entry]], None]) -> None:
        self._database = database
        self._on_append = on_append
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._ended = False
        self.failing = False
        """Whether the last commit failed."""
        self._thread = Thread(target=self._run, name="bus.writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return not self._closed and not self._ended

    def append(self, entries: Sequence[Entry], heads: Sequence[bytes]) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        self._put(Append(entries, heads, done))
        return done

    def act(self, work: Callable[[Database], T], then: Callable[[T], None] | None = None) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self._loop.create_future()
        self._put(Act(work, then, done))
        return done

    def _put(self, job: Job) -> None:
        if not self.alive:
            raise BusUnavailable("The bus is closed, or its writer has died; restart the server.")
        self._jobs.put(job)

    async def close(self) -> None:
        """Writes what waits, then ends the thread and closes the journal."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECS)
        if self._thread.is_alive():
            log.error("the disk keeps the bus from closing; its writer is left behind")

    def _run(self) -> None:
        try:
            while group := self._next_group():
                self._loop.call_soon_threadsafe(self._finish, group, self._perform(group))
        except RuntimeError:
            log.warning("the event loop is gone; the bus writes no more")
        finally:
            self._ended = True
            self._database.close()

    def _next_group(self) -> list[Job]:
        """Waits for work; empty when there will be none."""
        job = self._jobs.get()
        group: list[Job] = []
        size = 0
        while job is not None:
            group.append(job)
            size += len(job.entries) if isinstance(job, Append) else 1
            if size >= MOST_ENTRIES:
                return group
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return group
        if group:
            self._jobs.put(None)
        return group

    def _perform(self, group: list[Job]) -> Exception | None:
        """One commit for all; nothing that happens in it may end the thread."""
        try:
            self._database.check_folder()
            self._commit(group)
            self._database.committed()
        except Gone as error:
            return error
        except sqlite3.Error as error:
            log.error("a commit of the bus failed: %s", error)
            return error
        except Exception as error:
            log.exception("a commit of the bus failed")
            return error
        return None

    def _commit(self, group: list[Job]) -> None:
        runs = _runs(group)
        if len(runs) == 1 and isinstance(runs[0], Append) and self._database.segments.fits(runs[0].entries):
            # A single statement is a transaction of its own, at a third of the steps.
            self._database.segments.append(runs[0].entries, runs[0].heads)
            return
        with self._database.transaction():
            for job in runs:
                if isinstance(job, Append):
                    self._database.segments.append(job.entries, job.heads)
                else:
                    job.result = job.work(self._database)

    def _finish(self, group: list[Job], error: Exception | None) -> None:
        self.failing = error is not None
        for job in group:
            if error is not None:
                _fail(job, unavailable(error))
                continue
            try:
                result = self._tell(job)
            except Exception as unexpected:
                # Nobody may wait for ever because somebody else's turn went wrong.
                log.exception("the bus could not pass on what it has written")
                _fail(job, unavailable(unexpected))
            else:
                if not job.done.done():
                    job.done.set_result(result)

    def _tell(self, job: Job) -> Any:
        if isinstance(job, Append):
            self._on_append(job.entries)
            return None
        if job.then is not None:
            job.then(job.result)
        return job.result


def _fail(job: Job, error: BusUnavailable) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _runs(group: Sequence[Job]) -> list[Job]:
    """The jobs, with appends that follow one another made one."""
    runs: list[Job] = []
    entries: list[Entry] = []
    heads: list[bytes] = []
    for job in group:
        if isinstance(job, Append):
            if not (runs and isinstance(runs[-1], Append)):
                entries, heads = [], []
                runs.append(Append(entries, heads, job.done))
            entries += job.entries
            heads += job.heads
        else:
            runs.append(job)
    return runs
