"""Runner processes kept warm: one serves one algorithm version for its life, and is handed out again for it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any, NamedTuple

from services.worker.guardian import Guardian
from services.worker.process import RunnerProcess
from shared.forkserver import ForkServer
from voxloom.errors import Unavailable

REFILL_DELAY = 0.2
"""Seconds after which a new spare is started: the run that took the old one goes first."""

_log = logging.getLogger("voxloom.worker")


class Key(NamedTuple):
    """What a process is bound to for its life. `module` is the generation of a module (`Trees`), `assets` a content
    hash; `checkpoint` says what lies over the assets."""

    project: str
    module: str
    assets: str
    device: str
    checkpoint: str = ""


def is_card(device: str) -> bool:
    return ":" in device


class Pool:
    """Hands processes out and takes them back. `warm` idle ones are kept, the longest unused goes first; besides them
    one spare, bound to nothing yet, is kept ready for a key that comes new."""

    def __init__(
        self, *, warm: int, memory: int | None = None, threads: int | None = None, cores: int | None = None
    ) -> None:
        self._warm = warm
        self._memory = memory
        self._threads = threads
        self._cores = cores or os.cpu_count() or 1
        self._guardian: Guardian | None = None
        self._forks = ForkServer()
        self._idle: list[tuple[Key, RunnerProcess]] = []  # the longest unused first
        self._busy: dict[RunnerProcess, Key] = {}
        self._spare: asyncio.Task[RunnerProcess] | None = None
        self._side: set[asyncio.Task[Any]] = set()
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> int:
        return len(self._busy)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def spare_pid(self) -> int | None:
        """The process number of the spare once it is ready."""
        spare = self._spare
        if spare is None or not spare.done() or spare.cancelled() or spare.exception() is not None:
            return None
        return spare.result().pid

    @property
    def has_spare(self) -> bool:
        return self.spare_pid is not None

    def prespawn(self) -> None:
        """Starts the spare now, so that the first run need not wait for it."""
        if self._spare is None and not self._closed:
            self._spare = asyncio.create_task(self._start(), name="worker.spare")
            self._spare.add_done_callback(_see_error)

    async def acquire(self, key: Key, session: str = "") -> RunnerProcess:
        """A living process for `key`, for the caller alone until `release`; rather one that holds items of the session.
        Raises Unavailable."""
        process = self._take_idle(key, session) or await self._fresh_for(key)
        if self._closed:
            await process.kill()
            raise Unavailable("The worker is closing.")
        self._busy[process] = key
        self._refill_soon()
        return process

    def release(self, process: RunnerProcess, *, reusable: bool = True) -> None:
        """Takes a process back. One that must not, or cannot, serve again is killed."""
        key = self._busy.pop(process)
        if reusable and process.reusable and process.alive and not self._closed:
            self._idle.append((key, process))
            self._evict()
        else:
            self._aside("kill", process.kill())
        self._refill_soon()

    def end_idle_of(self, module: str) -> bool:
        """Ends the idle processes of a module; whether others of it are busy."""
        for key, process in self._idle:
            if key.module == module:
                self._aside("kill", process.kill())
        self._idle = [(key, process) for key, process in self._idle if key.module != module]
        return any(key.module == module for key in self._busy.values())

    async def close(self) -> None:
        """Kills every process, whatever it does."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
        everything = [process for _, process in self._idle] + list(self._busy)
        self._idle.clear()
        if self._spare is not None:
            everything += await self._end_spare(self._spare)
        await asyncio.gather(*(process.kill() for process in everything))
        await asyncio.gather(*self._side, return_exceptions=True)
        self._forks.close()
        if self._guardian is not None:
            await asyncio.to_thread(self._guardian.close)

    def _take_idle(self, key: Key, session: str) -> RunnerProcess | None:
        """One that knows the session, else the one that was used last; the dead are dropped on the way."""
        self._idle = [(its_key, process) for its_key, process in self._idle if process.alive]
        fitting = [at for at, (its_key, _) in enumerate(self._idle) if its_key == key]
        if not fitting:
            return None
        return self._idle.pop(max(fitting, key=lambda at: (session in self._idle[at][1].sessions, at)))[1]

    def has_idle(self, key: Key) -> bool:
        return any(its_key == key and process.alive for its_key, process in self._idle)

    async def _fresh_for(self, key: Key) -> RunnerProcess:
        if is_card(key.device):
            await self._clear(key.device)
        return await self._fresh()

    async def _clear(self, card: str) -> None:
        """Idle processes of other algorithms hold the card's memory."""
        there = [process for key, process in self._idle if key.device == card]
        self._idle = [(key, process) for key, process in self._idle if key.device != card]
        await asyncio.gather(*(process.kill() for process in there))

    async def _fresh(self) -> RunnerProcess:
        while self._spare is not None:
            spare, self._spare = self._spare, None
            if (process := await self._arrived(spare)) is not None:
                return process
        return await self._start()

    async def _arrived(self, spare: asyncio.Task[RunnerProcess]) -> RunnerProcess | None:
        """The spare once it is ready; None if it has died or could not be started."""
        try:
            process = await asyncio.shield(spare)
        except Unavailable as error:
            _log.warning("the spare runner process could not be started: %s", error)
            return None
        except asyncio.CancelledError:
            self._put_back(spare)
            raise
        return process if process.alive else None

    def _put_back(self, spare: asyncio.Task[RunnerProcess]) -> None:
        if self._spare is None and not self._closed:
            self._spare = spare
        else:
            self._aside("kill-spare", self._kill_spare(spare))

    async def _kill_spare(self, spare: asyncio.Task[RunnerProcess]) -> None:
        for process in await self._end_spare(spare):
            await process.kill()

    async def _end_spare(self, spare: asyncio.Task[RunnerProcess]) -> list[RunnerProcess]:
        spare.cancel()  # a start that is cancelled kills what it has started
        found = await asyncio.gather(spare, return_exceptions=True)
        return [process for process in found if isinstance(process, RunnerProcess)]

    async def _start(self) -> RunnerProcess:
        if self._guardian is None:
            self._guardian = Guardian.start()
        limits = {"memory": self._memory, "threads": self._threads}
        return await RunnerProcess.start(**limits, guardian=self._guardian, forks=self._forks)

    def _evict(self) -> None:
        while len(self._idle) > self._warm:
            _, process = self._idle.pop(0)
            self._aside("evict", process.leave())

    def _refill_soon(self) -> None:
        if self._spare is None and self._refilling is None and not self._closed:
            self._refilling = self._aside("refill", self._refill())

    async def _refill(self) -> None:
        """Not while every core has a run: that would pay for the next start with the runs at hand."""
        try:
            await asyncio.sleep(REFILL_DELAY)
        finally:
            self._refilling = None
        if len(self._busy) < self._cores:
            self.prespawn()

    def _aside(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"worker.pool.{name}")
        self._side.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._side.discard(task)
        _see_error(task)


def _see_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s failed: %s", task.get_name(), error)
