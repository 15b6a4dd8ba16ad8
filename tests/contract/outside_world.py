"""A gateway of a closed server that speaks with those outside, and people who have users at the broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aio_pika
import httpx
import orjson
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from messages.runs import RunRequested
from shared.bus import topology
from shared.bus.rabbit import RabbitBus
from shared.control.store import ControlStore
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from tests.brokers import Broker, vhost_of
from tests.contract.bus_tools import until
from tests.contract.closed_world import People, keep, people
from tests.contract.gateway_world import World
from tests.given import Given
from tests.rabbitmqctl import lines_of, typed

DOCUMENT = Path(__file__).parents[2] / "docs/events.md"
PASSWORD = "secret"


def run_id() -> str:
    return str(uuid.uuid1())


@dataclass
class Ear:
    """What somebody outside has heard."""

    messages: list[AbstractIncomingMessage] = field(default_factory=list)

    async def take(self, message: AbstractIncomingMessage) -> None:
        self.messages.append(message)

    @property
    def keys(self) -> list[str]:
        return [one.routing_key or "" for one in self.messages]

    def of(self, run: str) -> list[str]:
        """The verbs of one run."""
        return [key.split(".")[1] for key in self.keys if key.endswith(f".{run}")]

    def said(self, key: str) -> dict[str, Any]:
        """The data under that key."""
        return dict(orjson.loads(next(one.body for one in self.messages if one.routing_key == key)))

    async def has(self, key: str) -> dict[str, Any]:
        await until(lambda: key in self.keys)
        return self.said(key)

    async def rejected(self, run: str, project: str = "lab1") -> str:
        """With which code."""
        return str((await self.has(f"execution.rejected.{project}.{run}"))["error"]["code"])


@dataclass
class Outer:
    """The broker's vhost for those outside, and a gateway that serves it."""

    broker: Broker
    url: str
    world: World
    people: People
    control: ControlStore
    algorithm: str = ""

    def user(self, name: str, *, project: str | None = None, asks: bool = True) -> str:
        """The URL of one of the broker's, with the rights of the document; limited to a project, or not."""
        lines = lines_of(DOCUMENT, "anna" if asks else "dashboard")
        skipped = ["set_user_limits"] if project else ["set_user_limits", "set_topic_permissions"]
        told = {"anna": name, "dashboard": name, "outside": vhost_of(self.url), "PASSWORD": PASSWORD}
        typed(self.broker, [one for one in lines if one.split()[0] not in skipped], **told, lab1=project or "")
        return self.broker.url_of(vhost_of(self.url), name, PASSWORD)

    @property
    def runs(self) -> list[str]:
        """Those that were asked for, as the scheduler hears of them: of what is said twice once."""
        asked = {event.id: event.subject for event in self.world.heard if isinstance(event, RunRequested)}
        return list(asked.values())

    def request(self, run: str) -> RunRequested:
        return self.world.request_of(run)

    async def has_run(self, run: str) -> None:
        await until(lambda: run in self.runs)

    async def figure(self, outcome: str) -> float:
        async with httpx.AsyncClient(base_url=self.world.gateway.url, headers=self.world.headers) as client:
            metrics = (await client.get("/metrics")).text
        line = f'voxloom_outside_requests_total{{outcome="{outcome}"}} '
        return next(float(one.removeprefix(line)) for one in metrics.splitlines() if one.startswith(line))

    async def count_reaches(self, outcome: str, count: int) -> None:
        async def counted() -> bool:
            return await self.figure(outcome) >= count

        await until(counted)

    async def count_is(self, outcome: str, count: int) -> None:
        await self.count_reaches(outcome, count)
        assert await self.figure(outcome) == count

    async def another_gateway(self) -> World:
        """In place of the one that was stopped."""
        heard, world = self.world.heard, World(self.world.platform)
        world.heard, world.headers = heard, self.world.headers
        self.world.gateway = world.gateway
        await world.gateway.start()
        return self.world

    @asynccontextmanager
    async def listening(self, url: str, pattern: str = "*.*.lab1.#") -> AsyncIterator[Ear]:
        async with channel_of(url) as channel:
            yield await listen(channel, pattern)

    @asynccontextmanager
    async def asking(self, url: str) -> AsyncIterator[Asks]:
        async with channel_of(url) as channel:
            yield asks_on(channel, url, self.algorithm)


Asks = Callable[..., Any]


@asynccontextmanager
async def channel_of(url: str) -> AsyncIterator[AbstractChannel]:
    async with asyncio.timeout(120), await aio_pika.connect(url) as connection:
        yield await connection.channel()


async def listen(channel: AbstractChannel, pattern: str) -> Ear:
    ear = Ear()
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("events", pattern)
    await queue.consume(ear.take, no_ack=True)
    return ear


def body(algorithm: str = "Denoise", **more: Any) -> dict[str, Any]:
    return {"algorithm_name": algorithm, "algorithm_major_version": "1", "input_dataset_ids": [], **more}


def asks_on(channel: AbstractChannel, url: str, algorithm: str) -> Asks:
    user = url.split("//")[1].split(":")[0]

    async def ask(
        run: str, data: Mapping[str, Any] | bytes | None = None, *, key: str = "", project: str = "lab1", **facts: Any
    ) -> None:
        said = data if isinstance(data, bytes) else orjson.dumps(body() if data is None else data)
        facts = {"message_id": run, "user_id": user, "content_type": "application/json", **facts}
        exchange = await channel.get_exchange("requests", ensure=False)
        await exchange.publish(aio_pika.Message(said, **facts), key or f"execution.requested.{project}.{run}")

    return ask


class Places(NamedTuple):
    """The vhost of the services, and that of those outside as a gateway comes into it."""

    inside: str
    outside: str


def new_places(broker: Broker) -> Places:
    vhost = vhost_of(broker.new_vhost())
    typed(broker, lines_of(DOCUMENT, "doorkeeper"), outside=vhost, PASSWORD=PASSWORD)
    return Places(broker.new_vhost(), broker.url_of(vhost, "doorkeeper", PASSWORD))


@asynccontextmanager
async def outer_at(
    broker: Broker, folder: Path, *, places: Places | None = None, **settings: Any
) -> AsyncIterator[Outer]:
    """`places`: those that there are already, and that stay."""
    at = places or new_places(broker)
    try:
        async with _outer_at(broker, folder, at, settings) as outer:
            yield outer
    finally:
        if places is None:
            for url in at:
                broker.remove_vhost(url)


@asynccontextmanager
async def _outer_at(broker: Broker, folder: Path, at: Places, settings: Mapping[str, Any]) -> AsyncIterator[Outer]:
    bus, store = RabbitBus(at.inside), LocalObjectStore(folder / "objects")
    await bus.open()
    await store.open()
    await bus.declare(*topology.ALL)
    given = {"data": folder, "port": 0, "broker": at.inside, "outside": at.outside, "auth": "closed", **settings}
    everybody, control = people(), ControlStore(store)
    world = World(Platform(bus=bus, store=store, settings=Given(**given)))
    if given["auth"] == "closed":
        await keep(control, everybody.objects)
        world.headers = {"Authorization": f"Bearer {everybody.tokens['root']}", "Voxloom-Project": "lab1"}
    await bus.consume(topology.SCHEDULER, world.scheduler)
    await world.gateway.start()
    outer = Outer(broker, at.outside, world, everybody, control)
    try:
        outer.algorithm = await world.deploy(project="lab1" if given["auth"] == "closed" else "default")
        yield outer
    finally:
        await world.gateway.stop()
        await bus.close()
        await store.close()
