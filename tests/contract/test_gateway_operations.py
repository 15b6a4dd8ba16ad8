"""Queues and workers over real HTTP, and on the command line."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from messages.runs import RunRequested
from messages.workers import WorkerDraining, WorkerStarted, WorkerStopped
from services.gateway.views import queue_sampler
from services.gateway.views.queue_sampler import Sampler
from shared.bus import topology
from tests.contract.gateway_world import World, eventually
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.operations_tools import (
    LANE,
    Cli,
    Client,
    cli_of,
    count_is,
    die,
    is_watched,
    outcome,
    park,
    run_on_worker,
    start_worker,
    workers,
)
from tests.unit.gateway_samples import requested
from voxloom.errors import BusUnavailable


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_sampler, "PAUSE_SECS", 0.02)


@pytest.fixture
def cli(world: World) -> Cli:
    return cli_of(world)


# --- queues -----------------------------------------------------------------------------------------------


async def queue(client: Client, name: str) -> dict[str, Any]:
    answer = await client.get("/api/v1/queues")
    assert answer.status_code == 200, answer.text
    return next(one for one in answer.json()["items"] if one["name"] == name)


class TestQueues:
    async def test_every_queue_of_the_system_is_there(self, client: Client) -> None:
        items = (await client.get("/api/v1/queues")).json()["items"]
        assert [one["name"] for one in items] == [one.name for one in topology.ALL]

    async def test_what_waits_is_counted_and_has_an_age(self, client: Client, world: World) -> None:
        # Given runs that no recorder takes
        for _ in range(3):
            await world.bus.publish(requested())

        async def waits() -> bool:
            return bool((await queue(client, "recorder"))["waiting"] == 3)

        await eventually(waits)
        found = await queue(client, "recorder")
        assert (found["consumers"], found["oldest_at_least"]) == (0, False)
        age = (datetime.now(UTC) - requested().time).total_seconds()
        assert found["oldest_seconds"] == pytest.approx(max(0.0, age), abs=5)

    async def test_what_is_taken_at_once_goes_out_as_it_came_in(self, client: Client, world: World) -> None:
        await eventually(lambda: is_watched(client))
        for _ in range(20):
            await world.bus.publish(requested())

        async def moves() -> bool:
            found = await queue(client, "scheduler")
            return bool(found["in_per_second"]) and found["out_per_second"] == found["in_per_second"]

        await eventually(moves)
        found = await queue(client, "scheduler")
        assert (found["waiting"], found["consumers"], found["oldest_seconds"]) == (0, 1, None)

    async def test_the_queue_of_a_worker_is_looked_at_as_long_as_it_lives(self, client: Client, world: World) -> None:
        await world.bus.declare(topology.worker_queue("i1"))
        await world.bus.publish(WorkerStarted(subject="i1", worker_id="w", lanes=[LANE]))
        run = requested()
        await world.bus.publish(run)
        await eventually(lambda: _heard(world, run))
        await world.assign(run.subject)

        async def waits() -> bool:
            names = [one["name"] for one in (await client.get("/api/v1/queues")).json()["items"]]
            return "worker.i1" in names and bool((await queue(client, "worker.i1"))["waiting"] == 1)

        await eventually(waits)
        assert (await queue(client, "worker.i1"))["oldest_seconds"] is not None

    async def test_dead_letters_are_counted_where_they_came_from(self, client: Client, world: World) -> None:
        await die(world, "x")
        await park(world)
        await eventually(lambda: count_is(client, 2))
        report = (await client.get("/api/v1/queues")).json()
        found = next(one for one in report["items"] if one["name"] == "ingest")
        assert (report["dead"], report["parked"], found["dead"], found["parked"]) == (1, 1, 1, 1)

    async def test_without_a_broker_it_is_503(self, client: Client, world: World) -> None:
        await world.bus.close()
        assert outcome(await client.get("/api/v1/queues")) == (503, "bus_unavailable")

    async def test_metrics_tell_of_ages_and_workers(self, client: Client, world: World) -> None:
        await world.bus.publish(requested(), WorkerStarted(subject="i1", worker_id="w", lanes=[LANE]))
        await world.settled()
        text = (await client.get("/metrics")).text
        assert 'voxloom_bus_queue_oldest_seconds{queue="recorder"}' in text
        assert 'voxloom_workers{state="live"} 1.0' in text

    async def test_the_command_shows_a_line_for_each(self, cli: Cli, world: World) -> None:
        await world.bus.publish(requested())
        done = await cli("queues")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.splitlines()[0].split() == [
            *("QUEUE", "WAITING", "OLDEST", "IN/S", "OUT/S", "CONSUMERS", "DEAD", "PARKED")
        ]
        assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [one.name for one in topology.ALL]

    async def test_the_command_says_where_dead_letters_are_to_be_seen(
        self, cli: Cli, client: Client, world: World
    ) -> None:
        await die(world, "x")
        await eventually(lambda: count_is(client, 1))
        assert "Dead letters: 1, parked: 0; `voxloom dead list` shows them." in (await cli("queues")).stdout

    async def test_the_command_says_the_same_as_json(self, cli: Cli, client: Client) -> None:
        told = json.loads((await cli("queues", "--json")).stdout)
        answered = (await client.get("/api/v1/queues")).json()
        assert [one["name"] for one in told["items"]] == [one["name"] for one in answered["items"]]


async def _heard(world: World, run: RunRequested) -> bool:
    return run in world.heard


async def test_a_broker_that_does_not_answer_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_sampler, "PATIENCE_SECS", 0.05)
    with pytest.raises(BusUnavailable, match=r"has not told within 0\.05 s"):
        await queue_sampler.in_time(asyncio.sleep(10))


async def test_a_broker_that_goes_and_comes_back_is_looked_at_again(world: World) -> None:
    # Given a sampler whose broker is away
    watch = world.gateway._queues
    sampler = Sampler(world.bus, watch)
    await world.bus.close()
    running = asyncio.create_task(sampler.run())
    with pytest.raises(BusUnavailable):
        await sampler.figures()
    # When it is back, then its queues are told of again
    await world.bus.open()
    await world.bus.declare(*topology.ALL)

    async def told() -> bool:
        return {one.name for one in watch.report()} >= {one.name for one in topology.ALL}

    await eventually(told)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [one.name for one in await sampler.figures()] == [one.name for one in topology.ALL]


# --- workers ----------------------------------------------------------------------------------------------


class TestWorkers:
    async def test_where_there_are_none_none_are_told(self, client: Client, cli: Cli) -> None:
        assert await workers(client) == []
        assert (await cli("workers")).stdout.startswith("No worker has been heard of.")

    async def test_a_worker_is_shown_with_what_it_does(self, client: Client, world: World) -> None:
        run = await run_on_worker(client, world)
        (found,) = await workers(client)
        assert (found["worker_id"], found["state"], found["free_slots"], found["host"]) == (
            "bench-1",
            "live",
            1,
            "bench",
        )
        assert [(one["execution_id"], one["algorithm_name"], one["status"]) for one in found["runs"]] == [
            (run, "Denoise", "RUNNING")
        ]

    async def test_a_run_that_has_ended_is_not_shown_any_more(self, client: Client, world: World) -> None:
        run = await run_on_worker(client, world)
        await world.complete(run)
        await world.settled()
        (found,) = await workers(client)
        assert (found["runs"], found["free_slots"]) == ([], 2)

    async def test_draining_and_gone(self, client: Client, world: World) -> None:
        await start_worker(world)
        await world.bus.publish(WorkerDraining(subject="i1", worker_id="bench-1"))
        await world.settled()
        assert [one["state"] for one in await workers(client)] == ["draining"]
        await world.bus.publish(WorkerStopped(subject="i1", worker_id="bench-1"))
        await world.settled()
        assert [(one["state"], one["reason"]) for one in await workers(client)] == [("gone", "stopped")]

    async def test_the_command_shows_a_line_for_each_run(self, cli: Cli, client: Client, world: World) -> None:
        run = await run_on_worker(client, world)
        heads, line = (await cli("workers")).stdout.splitlines()
        assert heads.split()[:6] == ["WORKER", "STATE", "HEARD", "DEVICES", "FREE", "HOST"]
        assert [word in line for word in ("bench-1", "live", "2 × cpu", "bench, 7", run, "Denoise 1.0")] == [True] * 6

    async def test_the_command_says_the_same_as_json(self, cli: Cli, client: Client, world: World) -> None:
        await start_worker(world)
        told = json.loads((await cli("workers", "--json")).stdout)
        assert [one["incarnation"] for one in told] == [one["incarnation"] for one in await workers(client)] == ["i1"]
