"""Everything at once, at random: schedulers, recorders and workers that come and go, a bus and a store that refuse,
events that are delivered again. In one process, so that a few seconds hold many mishaps."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from messages.base import Event
from messages.gateways import GatewayFoundLoss
from messages.runs import (
    AlgorithmPin,
    RunCompleted,
    RunFailed,
    RunFinished,
    RunRequested,
    RunStopped,
    RunStopRequested,
)
from services.recorder.service import Recorder
from services.scheduler.service import Scheduler
from services.worker import service as worker_module
from services.worker.data import Materials
from services.worker.folders import Folders
from services.worker.service import Worker
from shared.records.fold import RunState
from shared.records.ledger import Epoch, review
from shared.records.store import RecordStore
from shared.service import Platform, Service
from tests.contract.platform_support import Heard, open_platform
from tests.contract.worker_world import FakePool
from tests.named import run_named
from tests.unit.memory_platform import WORK
from voxloom.errors import BusUnavailable, StoreUnavailable
from voxloom.models import Status

STEPS = 60
CALM_SECS = 120.0
ENDS = (RunCompleted, RunFailed, RunStopped)

Mishap = Callable[[], Awaitable[None]]

LIVES = itertools.count()


class Storm:
    def __init__(self, platform: Platform, heard: Heard, chance: random.Random) -> None:
        self.platform = platform
        self.heard = heard
        self.chance = chance
        self.pools: list[FakePool] = []
        self.recorder = Recorder(platform)
        self.scheduler = Scheduler(platform)
        self.worker: Worker
        self.dead: list[Service] = []
        self.runs: list[str] = []
        self.stops: set[str] = set()
        self.bus_is_full = False
        self.store_is_full = False

    async def start(self) -> None:
        await self.recorder.start()
        await self.scheduler.start()
        await self.start_worker()

    # --- what happens -------------------------------------------------------------------------------------

    async def submit(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            run = run_named(f"run{len(self.runs)}")
            with suppress(BusUnavailable):
                await self.platform.bus.publish(RunRequested(subject=run, work=WORK))
                self.runs.append(run)

    async def ask_to_stop(self) -> None:
        if self.runs:
            run = self.chance.choice(self.runs[-6:])
            with suppress(BusUnavailable):
                await self.platform.bus.publish(RunStopRequested(subject=run))
                self.stops.add(run)

    async def end_some(self) -> None:
        for pool in self.pools:
            for process in pool.made:
                if process.frame is not None and self.chance.random() < 0.4:
                    process.end()

    async def say_again(self) -> None:
        """What was delivered before is delivered again."""
        said = [event for event in self.heard.events if isinstance(event, RunRequested | RunFinished)]
        with suppress(BusUnavailable):
            for event in self.chance.sample(said, min(3, len(said))):
                await self.platform.bus.publish(event)

    async def find_loss(self) -> None:
        """As if the broker had lost what it kept."""
        with suppress(BusUnavailable):
            await self.platform.bus.publish(GatewayFoundLoss(subject="g"))

    async def change_scheduler(self) -> None:
        old, new = self.scheduler, Scheduler(self.platform)
        with suppress(BusUnavailable):
            await new.start()
            self.scheduler = new
            await self._let_go(old)

    async def change_recorder(self) -> None:
        old, new = self.recorder, Recorder(self.platform)
        with suppress(BusUnavailable):
            await new.start()
            self.recorder = new
            await self._let_go(old)

    async def _let_go(self, old: Service) -> None:
        """It stops in good order, or is cut off and does not know."""
        if self.chance.random() < 0.3:
            await old.stop()
        else:
            await cut_off(old)
            self.dead.append(old)

    async def kill_worker(self) -> None:
        """As kill -9 does: its processes die with it, and it says nothing."""
        await kill(self.worker)
        await self.pools[-1].close()
        await self.start_worker()

    async def drain_worker(self) -> None:
        old = self.worker
        await self.start_worker()
        await old.stop()

    async def silence_worker(self) -> None:
        """Its heartbeats get lost for longer than a lease."""
        worker, beat = self.worker, self.worker._beat
        worker._beat = lambda: None  # type: ignore[method-assign]  # nobody hears it
        await asyncio.sleep(self.platform.settings.lease * 1.5)
        worker._beat = beat  # type: ignore[method-assign]

    async def fill_bus(self) -> None:
        self.bus_is_full = True
        await asyncio.sleep(self.chance.random() * 0.5)
        self.bus_is_full = False

    async def fill_store(self) -> None:
        self.store_is_full = True
        await asyncio.sleep(self.chance.random() * 0.5)
        self.store_is_full = False

    async def start_worker(self) -> None:
        self.pools.append(FakePool())
        settings = self.platform.settings.model_copy(update={"worker_id": f"w{len(self.pools) % 3}"})
        while True:
            self.worker = Worker(Platform(self.platform.bus, self.platform.store, settings))
            # As a process of its own has: a worker that begins removes what it finds there.
            self.worker._materials._folders = Folders(self.platform.store.scratch / "runs" / str(next(LIVES)))
            try:
                await self.worker.start()
                return
            except BusUnavailable:
                await kill(self.worker)
                await asyncio.sleep(0.05)

    # --- how it goes --------------------------------------------------------------------------------------

    async def rage(self, steps: int) -> None:
        at_once: list[tuple[Mishap, int]] = [
            (self.submit, 12), (self.ask_to_stop, 6), (self.end_some, 8), (self.say_again, 4), (self.find_loss, 2),
            (self.change_scheduler, 2), (self.change_recorder, 2), (self.kill_worker, 1), (self.drain_worker, 1),
        ]  # fmt: skip
        lasting: list[tuple[Mishap, int]] = [(self.silence_worker, 1), (self.fill_bus, 1), (self.fill_store, 1)]
        mishaps = [*at_once, *lasting]
        under_way: set[asyncio.Future[None]] = set()
        for mishap in self.chance.choices([one for one, _ in mishaps], [often for _, often in mishaps], k=steps):
            if any(mishap == one for one, _ in lasting):
                under_way.add(asyncio.ensure_future(mishap()))
            else:
                await mishap()
            await asyncio.sleep(self.chance.random() * 0.03)
        await asyncio.gather(*under_way)

    async def calm(self) -> dict[str, RunState]:
        """Lets everything come to its end; the records."""
        async with asyncio.timeout(CALM_SECS):
            while True:
                states = await self.records()
                if len(states) == len(self.runs) and all(state.ended for state in states.values()):
                    return states
                for pool in self.pools:
                    pool.end_all()
                await asyncio.sleep(0.05)

    async def records(self) -> dict[str, RunState]:
        records = RecordStore(self.platform.store)
        ledger = await records.load_ledger()
        found = {run: ledger.runs.get(run) or await records.load_run(run) for run in self.runs}
        return {run: state for run, state in found.items() if state is not None}

    async def stop(self) -> None:
        living: list[Service] = [self.worker, self.scheduler, self.recorder]
        for service in living:
            await service.stop()
        for service in self.dead:
            await kill(service)


async def cut_off(service: Service) -> None:
    """Nothing is heard any more, and what was in hand goes to others."""
    for subscription in service._subscriptions:
        await subscription.close(drain=0.0)


async def kill(service: Service) -> None:
    await cut_off(service)
    for task in list(service._tasks):
        task.cancel()
    await asyncio.gather(*service._tasks, return_exceptions=True)


async def test_every_run_comes_to_its_true_end_in_any_storm(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await weather(seed, tmp_path, monkeypatch)


async def weather(seed: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker_module, "SETTLE_SECS", 0.5)
    facts = {"slots": 2, "grace": 0.1, "drain": 0.1, "heartbeat": 0.05, "lease": 0.4, "claim_timeout": 0.3}
    async with open_platform(folder, max_lost=1000, **facts) as (platform, heard):
        storm = Storm(platform, heard, random.Random(seed))
        make_refusable(storm, patch, folder)
        await storm.start()
        # When there is a storm, and then calm
        await storm.rage(STEPS)
        states = await storm.calm()
        processes = [process for pool in storm.pools for process in pool.made if process.frame is not None]
        await storm.stop()
    # Then every run has come to an end of its own, which was said once by somebody in charge
    assert wrong_ends(states, heard.events) == {}
    # What was asked to stop has stopped, or was done first; what was not, has completed
    assert {run: state.status for run, state in states.items() if not is_right(state, run in storm.stops)} == {}
    # No attempt was begun twice, and no process lives on
    begun = Counter((process.frame.run, process.frame.attempt) for process in processes if process.frame)
    assert [attempt for attempt, count in begun.items() if count > 1] == []
    assert not any(process.alive for process in processes)


def make_refusable(storm: Storm, patch: pytest.MonkeyPatch, folder: Path) -> None:
    bus, store = storm.platform.bus, storm.platform.store
    publish, put = bus.publish, store.put

    async def publish_or_not(*events: Event) -> None:
        if storm.bus_is_full:
            raise BusUnavailable("full")
        await publish(*events)

    async def put_or_not(*args: Any, **more: Any) -> Any:
        if storm.store_is_full:
            raise StoreUnavailable("full")
        return await put(*args, **more)

    async def tree(materials: Materials, project: str, algorithm: AlgorithmPin, overlay: object) -> Path:
        materials.trees.remember(folder.name, materials.trees.generation(project, algorithm.module))
        return folder

    patch.setattr(bus, "publish", publish_or_not)
    patch.setattr(store, "put", put_or_not)
    patch.setattr(Materials, "tree", tree)
    patch.setattr(worker_module, "Pool", lambda **_: storm.pools[-1])


def wrong_ends(states: dict[str, RunState], events: list[Event]) -> dict[str, list[str]]:
    """Runs whose end was not said exactly once by a scheduler in charge, or otherwise than it is recorded."""
    _, good = review(Epoch(), events)
    said: dict[str, dict[str, str]] = {}
    for event in good:
        if isinstance(event, ENDS):
            said.setdefault(event.subject, {})[event.id] = event.verb
    found = {run: list(said.get(run, {}).values()) for run in states}
    return {run: found[run] for run, state in states.items() if found[run] != [state.status.lower()]}


def is_right(state: RunState, stopped: bool) -> bool:
    return state.status is Status.COMPLETED or (stopped and state.status is Status.STOPPED)
