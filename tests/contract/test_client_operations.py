"""Queues, workers and dead letters through both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.views import queue_sampler
from shared.bus import topology
from tests.contract.gateway_world import World, client_of, eventually, world_at
from tests.contract.operations_tools import Client, letters, one_letter, park, run_on_worker
from voxloom import client as sdk
from voxloom.errors import InvalidInput, NotFound, Unavailable
from voxloom.models import Status

Call = Callable[..., Awaitable[Any]]
"""Calls a method of a client by its name."""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(queue_sampler, "PAUSE_SECS", 0.02)
    async with world_at(tmp_path) as world:
        yield world


@pytest.fixture
async def http(world: World) -> AsyncIterator[Client]:
    async with client_of(world) as http:
        yield http


@pytest.fixture(params=["asynchronous", "synchronous"])
async def call(world: World, request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    if request.param == "asynchronous":
        async with sdk.AsyncClient(world.gateway.url) as client:
            yield lambda name, *given, **named: getattr(client, name)(*given, **named)
    else:
        with sdk.Client(world.gateway.url) as plain:
            yield lambda name, *given, **named: asyncio.to_thread(getattr(plain, name), *given, **named)


async def test_queues_are_told_with_their_figures(call: Call, world: World, http: Client) -> None:
    await one_letter(http, world)
    await park(world)

    async def told() -> bool:
        report = await call("queues")
        return (report.dead, report.parked) == (1, 1)

    await eventually(told)
    items = (await call("queues")).items
    assert [one.name for one in items] == [one.name for one in topology.ALL]
    assert [(one.consumers, one.dead, one.parked) for one in items if one.name == "ingest"] == [(1, 1, 1)]


async def test_workers_are_told_with_what_they_do(call: Call, world: World, http: Client) -> None:
    assert await call("workers") == []
    run = await run_on_worker(http, world)
    (worker,) = await call("workers")
    assert (worker.worker_id, worker.state, worker.lanes[0].busy, worker.free_slots) == ("bench-1", "live", 1, 1)
    assert [(one.execution_id, one.status) for one in worker.runs] == [(run, Status.RUNNING)]


async def test_dead_letters_are_told_in_pages(call: Call, world: World, http: Client) -> None:
    assert (await call("dead_letters")).items == []
    for subject in ("a", "b"):
        await one_letter(http, world, subject)
    page = await call("dead_letters", limit=1)
    assert ([one.subject for one in page.items], page.more) == (["a"], True)
    assert [one.subject for one in (await call("dead_letters")).items] == ["a", "b"]


async def test_a_dead_letter_is_told_with_what_is_in_it(call: Call, world: World, http: Client) -> None:
    letter = await call("dead_letter", await one_letter(http, world))
    assert (letter.queue, letter.data, letter.headers["cloudEvents:subject"]) == ("ingest", {"size": "many"}, "x")


async def test_a_dead_letter_is_given_back(call: Call, world: World, http: Client) -> None:
    letter = await one_letter(http, world)
    assert await call("replay", letter) == "The dead letter was given back to its queue"

    async def again() -> bool:
        return [one["dead_letter_id"] == letter for one in await letters(http)] == [False]

    await eventually(again)


@pytest.mark.parametrize("method", ["dead_letter", "replay"])
async def test_a_dead_letter_that_is_not_there_is_named(call: Call, method: str) -> None:
    with pytest.raises(NotFound, match="There is no dead letter 'a/b'") as caught:
        await call(method, "a/b")
    assert caught.value.code == "dead_letter_not_found"


@pytest.mark.parametrize("limit", [0, 1001])
async def test_there_are_no_pages_of_such_a_size(call: Call, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await call("dead_letters", limit=limit)


async def test_without_a_broker_nobody_can_tell(call: Call, world: World) -> None:
    await world.bus.close()
    with pytest.raises(Unavailable) as caught:
        await call("dead_letters")
    assert caught.value.code == "bus_unavailable"
