"""No event that fits its schema stops a service or makes a list unreadable, however odd it is.

All services but the authors' processes are real, on one bus and one store. What is said comes from the goldens, with
some of its values replaced. Left out is what is no odd event but a lie about who decides: another scheduler that asks
to be admitted, or is said to be; whoever may say that may stop everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from messages.wire import PREFIX, Message, UndecodableMessage, decode
from services.deployer.service import Deployer
from services.gateway.service import Gateway
from services.ingest.service import Ingest
from services.recorder.service import Recorder
from services.scheduler.service import Scheduler
from services.worker import devices
from shared.algorithms import add_minor
from shared.service import Platform, Service
from shared.versions import Content, Deploy
from tests.contract.platform_support import open_platform
from tests.contract.worker_world import FakePool, make_world, until
from tests.named import A, B, C
from voxloom.ids import new_id
from voxloom.manifest import Manifest
from voxloom.models import format_time, utc_now

GOLDEN = Path(__file__).parent.parent / "golden"
NOT_SAID = ("scheduler.started", "scheduler.admitted", "worker.fenced")
GOLDENS = [
    orjson.loads(path.read_bytes())
    for path in sorted(GOLDEN.glob("*.json"))
    if not path.stem.removeprefix("voxloom.").startswith(NOT_SAID)
]
TEXTS = ["", "x" * 5000, "../../etc/passwd", "\0", "💥", "2026-11-21T02:57:03", "0001-01-01T00:00:00+14:00", "gpu", "."]
NUMBERS = [0, -1, 1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 1e308, -1e308, 5e-324]
TIMES = ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59+00:00", "2026-11-21T02:57:03+14:00", "2026-11-21T02:57:03", ""]
EPOCHS = [0, 1, -1]
"""None that was not granted yet."""
LISTS = [
    *(f"/api/v1/{name}" for name in ("executions", "trainings", "deploys", "files", "algorithms", "samples")),
    *(f"/api/v1/{name}" for name in ("checkpoints", "workers", "queues", "dead-letters", "stats")),
    "/api/v0/algorithm/all",
    "/readyz",
    "/metrics",
]
RECORDS = ["executions/{}", "trainings/{}", "deploys/{}", "files/{}", "checkpoints/{}", "executions/{}/log"]


class Failures(logging.Handler):
    """What a handler has raised: whoever calls it logs that."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


class World:
    """A running system on a loop of its own: an example of a property is no coroutine."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.new_event_loop()
        self.failures = Failures()
        logging.getLogger().addHandler(self.failures)
        self._stack = AsyncExitStack()
        self.loop.run_until_complete(self._start(folder, patch))

    async def _start(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        facts = {"slots": 2, "grace": 0.2, "drain": 0.1, "heartbeat": 0.05, "lease": 1.0, "worker_id": "w", "port": 0}
        self.platform, heard = await self._stack.enter_async_context(open_platform(folder, **facts))
        patch.setattr(devices, "available", lambda *_: ("cpu",), raising=False)
        made = make_world(self.platform, heard, folder, patch)
        self.pool: FakePool = made.pool
        self.scheduler, self.gateway = Scheduler(self.platform), Gateway(self.platform)
        others = [kind(self.platform) for kind in (Recorder, Ingest, Deployer)]
        self.services: list[Service] = [*others, self.scheduler, made.worker, self.gateway]
        for service in self.services:
            await service.start()
            self._stack.push_async_callback(service.stop)
        await until(lambda: self.scheduler.dispatcher is not None, "an admission")
        self.algorithm = await _deployed(self.platform)
        ending = asyncio.create_task(self._end_runs())
        self._stack.callback(ending.cancel)

    async def _end_runs(self) -> None:
        while True:
            self.pool.end_all()
            await asyncio.sleep(0.005)

    def close(self) -> None:
        self.loop.run_until_complete(self._stack.aclose())
        self.loop.close()
        logging.getLogger().removeHandler(self.failures)

    def play(self, messages: list[Message]) -> None:
        self.loop.run_until_complete(self._play(messages))

    async def _play(self, messages: list[Message]) -> None:
        for message in messages:
            await self._say(message)
        async with httpx.AsyncClient(base_url=self.gateway.url, timeout=60.0) as client:
            await self._run(client)
            answers = {path: (await client.get(path)).status_code for path in LISTS}
            assert answers == dict.fromkeys(LISTS, 200)
            for path in RECORDS:
                for one in (A, B, C):
                    assert (await client.get(f"/api/v1/{path.format(one)}")).status_code in (200, 404)
        assert self.failures.found == []
        assert [service.name for service in self.services if service.failed.done() or not service.ready] == []

    async def _say(self, message: Message) -> None:
        try:
            event = decode(message.headers, message.body, message.routing_keys)
        except UndecodableMessage:
            await self.platform.bus.publish_message(message)
            return
        if event.transient:
            self.platform.bus.announce(event)
        else:
            await self.platform.bus.publish_message(message)

    async def _run(self, client: httpx.AsyncClient) -> None:
        """One that nothing is odd about."""
        body = {"algorithm_id": self.algorithm, "input_dataset_ids": []}
        answer = await client.post("/api/v0/execute-algorithm", json=body)
        assert answer.status_code == 200, answer.text
        path = f"/api/v1/executions/{answer.json()['execution_id']}"
        record = await client.get(path, params={"wait": 60})
        assert record.json()["status"] == "COMPLETED", record.text


async def _deployed(platform: Platform) -> str:
    content = Content(module="0" * 64, assets="1" * 64, module_bytes=10, asset_bytes=20, asset_count=1)
    deploy = Deploy(new_id(), "default", Manifest(name="Noop", major="1", minor="0"), content, utc_now())
    return (await add_minor(platform.store, deploy)).entry.algorithm_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        made = World(tmp_path_factory.mktemp("odd"), patch)
        try:
            yield made
        finally:
            made.close()


# --- what is said ---


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in a JSON value at which something stands."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        yield from leaves(part, (*path, name))


def replaced(value: Any, path: tuple[Any, ...], odd: Callable[[Any], Any]) -> Any:
    if not path:
        return odd(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], odd)
    return copy


def odd_like(choice: int, value: Any) -> Any:
    """Something of the same kind, mostly."""
    match value:
        case bool():
            return not value
        case int() | float():
            return NUMBERS[choice % len(NUMBERS)]
        case str():
            return TEXTS[choice % len(TEXTS)]
        case list():
            return value * 200 if choice % 2 else []
        case dict():
            return {} if choice % 2 else {**value, **{f"x{number}": None for number in range(200)}}
        case _:
            return None


@st.composite
def messages(draw: st.DrawFn) -> Message:
    golden = draw(st.sampled_from(GOLDENS))
    data, headers = golden["data"], dict(golden["headers"])
    places = list(leaves(data))
    for path in draw(st.lists(st.sampled_from(places), max_size=2, unique=True)) if places else ():
        choice = draw(st.integers(0, 20))
        try:
            data = replaced(data, path, partial(odd_like, choice))
        except (KeyError, IndexError, TypeError):
            continue  # What it was in has been replaced.
    if "epoch" in data:
        data = {**data, "epoch": draw(st.sampled_from(EPOCHS))}
    envelope: Mapping[str, Any] = {
        "id": new_id(),
        "subject": draw(st.sampled_from([A, B, C])),
        "project": draw(st.sampled_from(["default", "default", "other"])),
        "attempt": draw(st.sampled_from([0, 1, 2, 2**31 - 1])),
        "time": draw(st.sampled_from([format_time(utc_now()), *TIMES])),
    }
    headers |= {f"{PREFIX}{name}": value for name, value in envelope.items()}
    _, entity, verb, _ = headers[f"{PREFIX}type"].split(".")
    key = f"{entity}.{verb}.{envelope['project']}.{envelope['subject']}"
    return Message((key,), headers, orjson.dumps(data))


# Without making what fails smaller: the system remembers what it was told before.
@settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(said=st.lists(messages(), min_size=15, max_size=40), again=st.integers(1, 2))
def test_whatever_is_said_services_go_on_and_lists_are_read(world: World, said: list[Message], again: int) -> None:
    world.play(said * again)
