"""People keep files and runs and let them go, while retention removes all that is not kept and processes are killed.

In one process, so that a few seconds hold many mishaps: what a killed service still does has no effect any more.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from messages.files import FileCommitted
from messages.runs import Result, RunCompleted, RunRequested
from services.gateway.context import CONTEXT, Context
from services.gateway.operations import keeping, retention
from services.gateway.operations.runs import find_run
from services.gateway.service import Gateway
from services.ingest.service import Ingest
from services.recorder import service as recorder_module
from services.recorder.service import Recorder
from shared import files
from shared.caller import Caller
from shared.control.objects import ALL_RIGHTS, Retention
from shared.control.store import ControlStore
from shared.objects.base import EXPIRING
from shared.records.store import RecordStore
from shared.service import Platform, Service
from tests.chaos.loops import Loops
from tests.contract.closed_world import keep, people
from tests.contract.gateway_world import platform_at
from tests.polling import pauses
from tests.unit.memory_platform import WORK
from voxloom.errors import Conflict, NotFound, VoxloomError
from voxloom.ids import new_id
from voxloom.keepmodels import KeepRecord
from voxloom.models import utc_now

MIA = Caller("mia", "lab1", ALL_RIGHTS)
LATER = timedelta(days=5)
"""When retention looks: everything is over its time from the beginning."""
PEOPLE = 4
LEAST_KILLS = 10
"""Of one process each, which is soon there again."""
CALM_SECS = 30.0
Kind = Literal["file", "run"]


class Mortal:
    """A bus or a store as one process has it, until that is killed."""

    def __init__(self, what: object) -> None:
        self._what = what
        self.dead = False
        self.over = asyncio.Event()
        """Nothing of the process is left."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._what, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def while_it_lives(*args: Any, **more: Any) -> Any:
            await self._live()
            answer = await found(*args, **more)
            await self._live()
            return answer

        return while_it_lives

    async def _live(self) -> None:
        if self.dead:
            await self.over.wait()
            raise asyncio.CancelledError("killed")


@dataclass
class Process:
    """One service, and what else goes on there."""

    service: Service
    ports: list[Mortal]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def kill(self) -> None:
        for port in self.ports:
            port.dead = True
        closing = [asyncio.create_task(one.close(drain=0.0)) for one in self.service._subscriptions]
        under_way = [*self.tasks, *self.service._tasks]
        for task in under_way:
            task.cancel()
        await asyncio.sleep(0.01)  # What was handled is given back by now, as a broker does when a connection ends.
        for port in self.ports:
            port.over.set()
        await asyncio.gather(*closing, *under_way, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        """What the system would close."""
        if isinstance(self.service, Ingest):
            await self.service._inspectors.close()
        elif isinstance(self.service, Gateway) and self.service._runner is not None:
            await self.service._runner.cleanup()
            await self.service._looking.close()
            self.service._hasher.close()
            self.service._catalog.close()


@dataclass
class Thing:
    """A file, or a run with the file that it has made. `kept`: what somebody was told last; None: nobody knows, since
    there was no answer. `files`: how many of them were there then."""

    kind: Kind
    name: str
    output: str = ""
    kept: bool | None = False
    files: int = 0
    gone: bool = False


class Storm:
    def __init__(self, platform: Platform, chance: random.Random) -> None:
        self.platform = platform
        self.chance = chance
        self.processes: dict[type[Service], Process] = {}
        self.things: list[Thing] = []
        self.over = False
        self.told: Counter[str] = Counter()

    # --- processes ----------------------------------------------------------------------------------------

    async def start(self, kind: type[Service]) -> None:
        ports = [Mortal(self.platform.bus), Mortal(self.platform.store)]
        service = kind(replace(self.platform, bus=cast(Any, ports[0]), store=cast(Any, ports[1])))
        process = Process(service, ports)
        await service.start()
        self.processes[kind] = process
        if isinstance(service, Gateway):
            work = [self._retention(), *(self._person() for _ in range(PEOPLE))]
            process.tasks = [asyncio.create_task(one, name=f"storm.{at}") for at, one in enumerate(work)]

    async def kill(self, kind: type[Service]) -> None:
        await self.processes[kind].kill()
        await self.start(kind)

    @property
    def context(self) -> Context:
        service = self.processes[Gateway].service
        assert isinstance(service, Gateway)
        assert service._runner is not None
        return service._runner.app[CONTEXT]

    async def _retention(self) -> None:
        context = self.context
        while not self.over:
            with suppress(VoxloomError):
                await retention.let_go(context, utc_now() + LATER)
            await asyncio.sleep(0.02)

    # --- people -------------------------------------------------------------------------------------------

    async def _person(self) -> None:
        """Does one thing after the other, each of them alone with what it is done to."""
        context = self.context
        while not self.over:
            free = [thing for thing in self.things[-40:] if not thing.gone]
            if len(free) < 10 or self.chance.random() < 0.3:
                await self.make("file" if self.chance.random() < 0.5 else "run")
            else:
                thing = self.chance.choice(free)
                self.things.remove(thing)  # nobody else's meanwhile
                try:
                    await self.change(context, thing, kept=self.chance.random() < 0.6)
                finally:
                    self.things.append(thing)
            await asyncio.sleep(self.chance.random() * 0.02)

    async def make(self, kind: Kind) -> None:
        thing = Thing(kind, new_id(), output=new_id() if kind == "run" else "")
        store, bus = self.processes[Gateway].ports[1], self.processes[Gateway].ports[0]
        told: dict[str, Any] = {"subject": thing.name, "project": "lab1"}
        if kind == "file":
            info = await put_file(store, thing.name)
            entry = files.FileEntry(
                file_id=thing.name, project="lab1", size=5, etag=info.etag, time=utc_now(), datasets=[]
            )
            await files.commit(cast(Any, store), entry)
            await bus.publish(FileCommitted(size=5, etag=info.etag, datasets=[], **told))
        else:
            await put_file(store, thing.output, run=thing.name, attempt="1")
            end = RunCompleted(
                attempt=1, epoch=1, worker_id="w", incarnation="i", result=Result(outputs=[thing.output]), **told
            )
            await bus.publish(RunRequested(work=WORK, **told), end)
        self.things.append(thing)

    async def change(self, context: Context, thing: Thing, *, kept: bool) -> None:
        before, thing.kept = thing.kept, None
        try:
            thing.files = (await self._act(context, thing, kept)).file_count
        except NotFound:  # What is kept may be away until the recorder has spared it; it is looked for in the end.
            thing.kept, thing.gone = before, not before
        except Conflict as error:  # It goes just now, or has not ended as far as that gateway has heard.
            thing.kept = before
            self.told[error.code or ""] += 1
        except VoxloomError as error:
            self.told[error.code or ""] += 1
        else:
            thing.kept = kept
            self.told["kept" if kept else "released"] += 1

    async def find(self, thing: Thing) -> Any:
        if thing.kind == "file":
            return await self.context.files.find(MIA, thing.name)
        return await find_run(self.context, MIA, "execution", thing.name)

    async def _act(self, context: Context, thing: Thing, kept: bool) -> KeepRecord:
        acts = {
            ("file", True): keeping.keep_file,
            ("file", False): keeping.release_file,
            ("run", True): keeping.keep_run,
            ("run", False): keeping.release_run,
        }
        record: KeepRecord = await cast(Any, acts[thing.kind, kept])(context, MIA, await self.find(thing))
        return record

    # --- how it goes --------------------------------------------------------------------------------------

    async def rage(self, kills: int) -> None:
        for _ in range(kills):
            await asyncio.sleep(0.05 + self.chance.random() * 0.4)
            kinds: list[type[Service]] = [Gateway, Gateway, Ingest, Recorder]
            await self.kill(self.chance.choice(kinds))

    async def calm(self) -> None:
        """Until all is gone that nobody keeps, as far as that is known."""
        self.over = True
        for task in self.processes[Gateway].tasks:
            await task
        ingest = self.processes[Ingest].service
        assert isinstance(ingest, Ingest)
        await ingest.keep_up(utc_now())
        loose = [thing for thing in self.things if thing.kept is False]

        deadline = time.monotonic() + CALM_SECS
        for pause in pauses():
            with suppress(VoxloomError):
                await retention.let_go(self.context, utc_now() + LATER)
            if not (loose := await self.those_there(loose)):
                return
            assert time.monotonic() < deadline, ("they do not go", loose)
            await asyncio.sleep(pause)

    async def those_there(self, things: Sequence[Thing]) -> list[Thing]:
        """In the store, where nothing hides them."""
        records = RecordStore(self.platform.store)
        ledger = await records.load_ledger()
        located = await files.locate_many(self.platform.store, [thing.name for thing in things])
        return [
            thing
            for thing in things
            if thing.name in located
            or thing.name in ledger.runs
            or (thing.name not in ledger.to_delete and await records.load_run(thing.name) is not None)
        ]

    async def wrong_with(self, thing: Thing) -> str | None:
        """Why it is not found by whoever asks, or does not stay; None: nothing is wrong."""
        try:
            await self.find(thing)
        except NotFound as error:
            return f"{thing}: {error.code}"
        if not await self.those_there([thing]):
            return f"{thing}: not in the store"
        if thing.files == 0:
            return None
        file = thing.output or thing.name
        if not await files.locate_many(self.platform.store, [file]):
            return f"{thing}: its file is gone"
        expires = await self.platform.store.tags(files.COLLECTION, files.bytes_key(file))
        return f"{thing}: it expires" if expires else None


async def put_file(store: Any, file_id: str, **metadata: str) -> Any:
    told = {"project": "lab1", **metadata}
    return await store.put(files.COLLECTION, files.bytes_key(file_id), b"bytes", metadata=told, tags=EXPIRING)


async def test_what_is_kept_is_never_deleted_whoever_is_killed(
    loops: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "GATHER_SECS", 0.05)
    for seed in range(loops.rounds):
        await weather(seed, tmp_path / str(seed), loops.kills)


async def weather(seed: int, folder: Path, kills: int) -> None:
    # Given a project that lets everything go, and people who keep some of it
    async with platform_at(folder, auth="closed", answer_timeout=3.0) as platform:
        control = ControlStore(platform.store)
        said = Retention(project="lab1", changed_at=utc_now(), changed_by="max", file_days=2.0, execution_days=2.0)
        await keep(control, [*people().objects, said])
        storm = Storm(platform, random.Random(seed))
        kinds: list[type[Service]] = [Recorder, Ingest, Gateway]
        for kind in kinds:
            await storm.start(kind)
        # When gateway, ingest and recorder are killed, and it is calm after that
        await storm.rage(max(kills, LEAST_KILLS))
        await storm.calm()
        # Then what somebody was told is kept is there, and stays
        kept = [thing for thing in storm.things if thing.kept]
        lost = [wrong for thing in kept if (wrong := await storm.wrong_with(thing)) is not None]
        # And nothing else
        left = await storm.those_there([thing for thing in storm.things if thing.kept is False])
        for process in reversed(storm.processes.values()):
            await process.service.stop()
    assert (seed, lost, left) == (seed, [], [])
    assert kept
    assert storm.told["kept"] > len(kept) // 2, storm.told
