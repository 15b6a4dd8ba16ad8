"""Queues, workers and dead letters where the broker is RabbitMQ: it counts its dead letters itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from messages import wire
from messages.files import FileUploaded
from services.gateway.views import queue_sampler
from shared.bus import topology
from shared.bus.rabbit import RabbitBus
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from shared.settings import Settings
from tests.brokers import Broker
from tests.contract.gateway_world import World, eventually
from tests.contract.gateway_world import client as client
from tests.contract.operations_tools import (
    Client,
    count_is,
    die,
    is_watched,
    letters,
    one_letter,
    park,
    run_on_worker,
    workers,
)
from tests.unit.gateway_samples import requested


@pytest.fixture
async def world(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(queue_sampler, "PAUSE_SECS", 0.1)
    bus, store = RabbitBus(url := broker.new_vhost()), LocalObjectStore(tmp_path / "objects")
    await bus.open()
    await store.open()
    await bus.declare(*topology.ALL)
    world = World(Platform(bus=bus, store=store, settings=Settings(data=tmp_path, port=0)))
    for queue, handler in ((topology.INGEST, world.ingest), (topology.SCHEDULER, world.scheduler)):
        await bus.consume(queue, handler)
    await world.gateway.start()
    yield world
    await world.gateway.stop()
    await bus.close()
    await store.close()
    broker.remove_vhost(url)


async def report(client: Client) -> dict[str, Any]:
    return dict((await client.get("/api/v1/queues")).json())


async def figures(client: Client, name: str) -> dict[str, Any]:
    return next(one for one in (await report(client))["items"] if one["name"] == name)


async def test_queues_are_told_with_depth_rates_consumers_and_the_oldest(client: Client, world: World) -> None:
    # Given runs that no recorder takes
    await eventually(lambda: is_watched(client))
    for _ in range(3):
        await world.bus.publish(requested())

    async def told() -> bool:
        found = await figures(client, "recorder")
        return bool(found["waiting"] == 3 and found["in_per_second"])

    await eventually(told)
    found = await figures(client, "recorder")
    assert (found["consumers"], found["oldest_seconds"] is not None, found["oldest_at_least"]) == (0, True, False)
    assert (await figures(client, "scheduler"))["consumers"] == 1
    assert [one["name"] for one in (await report(client))["items"]] == [one.name for one in topology.ALL]


async def test_dead_letters_are_counted_where_they_came_from(client: Client, world: World) -> None:
    await die(world, "x")
    await park(world)

    async def counted() -> bool:
        told = await report(client)
        return (told["dead"], told["parked"]) == (1, 1)

    await eventually(counted)
    found = await figures(client, "ingest")
    assert (found["dead"], found["parked"]) == (1, 1)

    async def measured() -> bool:
        return "voxloom_bus_dead_letters 2.0" in (await client.get("/metrics")).text.splitlines()

    await eventually(measured)


async def test_one_that_was_mended_is_handled_when_it_is_replayed(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an event that this program is too old for
    with monkeypatch.context() as old:
        old.delitem(wire.EVENTS, FileUploaded.kinds()[0].type_name)
        letter = await one_letter(client, world, body=b'{"size": 1, "etag": "e"}')
    shown = (await client.get(f"/api/v1/dead-letters/{letter}")).json()
    assert (shown["queue"], shown["parked"], shown["data"]) == ("ingest", True, {"size": 1, "etag": "e"})
    # When it is replayed after an upgrade, then it is handled, and no dead letter any more
    assert (await client.post(f"/api/v1/dead-letters/{letter}/replay")).status_code == 200

    async def handled() -> bool:
        return [type(event) for event in world.heard] == [FileUploaded]

    await eventually(handled)
    assert await letters(client) == []


async def test_only_the_one_that_is_named_is_replayed(client: Client, world: World) -> None:
    first, second, third = [await one_letter(client, world, subject) for subject in ("a", "b", "c")]
    assert [one["dead_letter_id"] for one in await letters(client)] == [first, second, third]
    assert (await client.post(f"/api/v1/dead-letters/{second}/replay")).status_code == 200
    await eventually(lambda: count_is(client, 3))
    assert [one["dead_letter_id"] for one in await letters(client)][:2] == [first, third]


async def test_one_that_is_not_there_is_404(client: Client) -> None:
    answer = await client.post("/api/v1/dead-letters/nothing/replay")
    assert (answer.status_code, answer.json()["code"]) == (404, "dead_letter_not_found")


async def test_workers_are_heard_and_told_with_what_they_do(client: Client, world: World) -> None:
    await world.bus.consume(topology.DEPLOYER, world.deployer)
    run = await run_on_worker(client, world)
    (found,) = await workers(client)
    assert (found["worker_id"], found["state"], found["host"]) == ("bench-1", "live", "bench")
    assert [(one["execution_id"], one["status"]) for one in found["runs"]] == [(run, "RUNNING")]
