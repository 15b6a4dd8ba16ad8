"""Ids of server-sent events where the server asks who people are: they tell nothing, and every gateway knows them."""

from __future__ import annotations

import re

import httpx

from services.gateway.service import Gateway
from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed
from tests.contract.gateway_world import World
from voxloom.ids import new_id


async def ended_run(world: World, client: httpx.AsyncClient) -> str:
    """Its events."""
    algorithm = await world.deploy(project="lab1", name=f"a-{new_id()}")
    asked = await client.post("/api/v1/executions", json={"algorithm_id": algorithm, "input_dataset_ids": []})
    run = str(asked.json()["execution_id"])
    await world.start(run)
    await world.complete(run)
    return f"/api/v1/executions/{run}/events"


async def last_id(client: httpx.AsyncClient, path: str) -> str:
    return str(re.findall(r"^id: (.+)$", (await client.get(path)).text, re.MULTILINE)[-1])


async def test_a_client_resumes_at_another_gateway(closed: Closed) -> None:
    other = Gateway(closed.world.platform)
    await other.start()
    try:
        async with closed.asking("mia") as mia, closed.asking("mia", url=other.url) as there:
            path = await ended_run(closed.world, mia)
            seen = await last_id(mia, path)
            assert (await there.get(path, headers={"Last-Event-ID": seen})).status_code == 204
    finally:
        await other.stop()


async def test_nobody_finds_out_by_trying_how_many_events_there_were(closed: Closed) -> None:
    async with closed.asking("mia") as mia:
        path = await ended_run(closed.world, mia)
        newest = closed.world.gateway._view.newest
        assert re.fullmatch("[0-9a-f]{16}", await last_id(mia, path))
        for number in range(newest + 1):
            assert (await mia.get(path, headers={"Last-Event-ID": str(number)})).status_code == 200
