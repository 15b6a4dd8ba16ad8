"""A worker on a real bus and store, with processes that do what a test says; the test is its scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from messages.base import Event
from messages.runs import (
    AlgorithmPin,
    Result,
    RunCompleted,
    RunFinished,
    RunHandedOver,
    RunRequeued,
    RunStopPassed,
)
from messages.workers import WorkerHeartbeat
from services.worker import service as module
from services.worker.data import Materials
from services.worker.pool import Key
from services.worker.service import Worker
from shared.service import Platform
from tests.contract.platform_support import Heard, open_platform
from tests.unit.memory_platform import WORK
from voxloom.models import RunError
from voxloom.runner import frames

DEADLINE = 60.0


async def until(check: Callable[[], object], what: str = "it") -> None:
    async with asyncio.timeout(DEADLINE):
        while not check():
            await asyncio.sleep(0.005)
    assert check(), what


class FakeProcess:
    """Ends when it is told to; `deaf` ones do not end when they are asked to stop."""

    def __init__(self, *, deaf: bool) -> None:
        self.deaf = deaf
        self.asked = False
        self.killed = False
        self.module_changed = False
        self.sessions: set[str] = set()
        self.frame: frames.Run | None = None
        self._ended: asyncio.Future[frames.Ended] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    async def run(self, frame: frames.Run, link: object) -> frames.Ended:
        self.frame = frame
        ended = await self._ended
        self.module_changed = ended.module_changed
        return ended

    def end(self, outcome: str = "completed", **more: Any) -> None:
        assert self.frame is not None
        if not self._ended.done():
            facts = {"run": self.frame.run, "outcome": outcome, **more}
            self._ended.set_result(frames.Ended.model_validate(facts))

    def stop(self, run: str) -> None:
        self.asked = True
        if not self.deaf:
            self.end("stopped")

    async def kill(self) -> None:
        self.killed = True
        if self.frame is not None:
            self.end("failed", error=RunError(type="RunnerKilled", message="killed", code="runner_killed"))


class FakePool:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.deaf = False
        self.made: list[FakeProcess] = []
        self.keys: list[Key] = []
        self.warm: set[str] = set()
        """Devices on which a process waits that has all loaded."""
        self.given_up: list[str] = []
        """Modules whose idle processes were ended."""
        self.busy = 0

    def prespawn(self) -> None: ...

    def has_idle(self, key: Key) -> bool:
        return key.device in self.warm

    async def acquire(self, key: Key, session: str = "") -> FakeProcess:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.busy += 1
        self.keys.append(key)
        self.made.append(FakeProcess(deaf=self.deaf))
        return self.made[-1]

    def release(self, process: FakeProcess, *, reusable: bool = True) -> None:
        self.busy -= 1

    def end_idle_of(self, module: str) -> bool:
        self.given_up.append(module)
        return False

    def end_all(self) -> None:
        """Every process completes, if it has something to do."""
        for process in self.made:
            if process.frame is not None:
                process.end()

    async def close(self) -> None:
        for process in self.made:
            await process.kill()


class WorkerWorld:
    def __init__(self, worker: Worker, pool: FakePool, heard: Heard) -> None:
        self.worker = worker
        self.pool = pool
        self.heard = heard
        self.beats: list[WorkerHeartbeat] = []

    async def say(self, *events: Event) -> None:
        await self.worker.bus.publish(*events)

    async def assign(
        self, run: str, attempt: int = 1, epoch: int = 1, incarnation: str | None = None, device_class: str = "cpu"
    ) -> None:
        await self.say(
            RunHandedOver(
                subject=run, attempt=attempt, epoch=epoch, worker_id="w", device_class=device_class, work=WORK,
                incarnation=incarnation or self.worker.incarnation,
            )
        )  # fmt: skip

    async def begin(self, run: str, attempt: int = 1) -> FakeProcess:
        """Assigns a run and waits until it is under way."""
        await self.assign(run, attempt)
        return await self.process_of(run, attempt)

    async def process_of(self, run: str, attempt: int = 1) -> FakeProcess:
        await until(lambda: self._process(run, attempt), f"{run} under way")
        found = self._process(run, attempt)
        assert found is not None
        return found

    def _process(self, run: str, attempt: int) -> FakeProcess | None:
        return next(
            (one for one in self.pool.made if one.frame and (one.frame.run, one.frame.attempt) == (run, attempt)), None
        )

    async def pass_stop(self, run: str, attempt: int = 1, epoch: int = 1) -> None:
        incarnation = self.worker.incarnation
        await self.say(RunStopPassed(subject=run, attempt=attempt, epoch=epoch, incarnation=incarnation))

    async def requeue(self, run: str, attempt: int = 1, epoch: int = 1) -> None:
        incarnation = self.worker.incarnation
        facts = {"incarnation": incarnation, "lost": 1, "reason": "gone"}
        await self.say(RunRequeued(subject=run, attempt=attempt, epoch=epoch, **facts))

    async def settle(self, run: str, attempt: int = 1, epoch: int = 1) -> None:
        incarnation = self.worker.incarnation
        await self.say(
            RunCompleted(subject=run, attempt=attempt, epoch=epoch, incarnation=incarnation, result=Result())
        )

    async def report(self, run: str, attempt: int = 1) -> RunFinished:
        """The first report of that attempt."""
        await until(lambda: self._reports(run, attempt), f"the report of {run}")
        return self._reports(run, attempt)[0]

    def _reports(self, run: str, attempt: int) -> list[RunFinished]:
        return [one for one in self.heard.of(RunFinished) if (one.subject, one.attempt) == (run, attempt)]

    def began(self) -> list[tuple[str, int]]:
        """What authors' code was run, in order."""
        return [(one.frame.run, one.frame.attempt) for one in self.pool.made if one.frame is not None]

    async def held(self) -> list[tuple[str, int]]:
        """What the next heartbeat lists."""
        count = len(self.beats)
        await until(lambda: len(self.beats) > count, "a heartbeat")
        return sorted((holding.run, holding.attempt) for holding in self.beats[-1].holding)


@asynccontextmanager
async def worker_world(folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[WorkerWorld]:
    facts = {"slots": 1, "grace": 0.2, "drain": 0.2, "heartbeat": 0.02, "lease": 1.0, "worker_id": "w", **settings}
    async with open_platform(folder, **facts) as (platform, heard):
        world = make_world(platform, heard, folder, patch)
        await platform.bus.listen(["worker.heartbeat.#"], lambda beat: _note(world, beat))
        await world.worker.start()
        try:
            yield world
        finally:
            await world.worker.stop()


def make_world(platform: Platform, heard: Heard, folder: Path, patch: pytest.MonkeyPatch) -> WorkerWorld:
    pool = FakePool()

    async def tree(materials: Materials, project: str, algorithm: AlgorithmPin, overlay: object) -> Path:
        materials.trees.remember(folder.name, materials.trees.generation(project, algorithm.module))
        return folder

    patch.setattr(Materials, "tree", tree)
    patch.setattr(module, "SETTLE_SECS", 0.5)
    patch.setattr(module, "Pool", lambda **_: pool)
    return WorkerWorld(Worker(platform), pool, heard)


def _note(world: WorkerWorld, event: Event) -> None:
    assert isinstance(event, WorkerHeartbeat)
    world.beats.append(event)
