"""Inputs near their end, over HTTP: a run is asked for and has them, or is refused with what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from services.gateway.operations.retention import KNOWN_AFTER, known_to_all
from shared.control.objects import Retention
from shared.files import COLLECTION, bytes_key, deleting_key
from shared.holding import HELD
from tests.contract.gateway_world import World, world_at
from tests.contract.gateway_world import client as client
from tests.contract.test_gateway_files import upload
from voxloom.models import utc_now


@pytest.fixture
async def world(tmp_path: Path, days: float) -> AsyncIterator[World]:
    async with world_at(tmp_path, data_expire_days=days) as world:
        yield world


async def ask(client: httpx.AsyncClient, world: World, *inputs: str) -> httpx.Response:
    body = {"algorithm_id": await world.deploy(), "input_dataset_ids": inputs}
    return await client.post("/api/v1/executions", json=body)


async def lists(world: World) -> list[str]:
    return [item.key for item in (await world.store.list(COLLECTION, prefix=HELD)).items]


@pytest.mark.parametrize(("days", "near"), [(1.0, True), (7.0, False)])
async def test_inputs_are_held_where_they_are_near_their_end(
    client: httpx.AsyncClient, world: World, near: bool
) -> None:
    file = await upload(client)
    run = (await ask(client, world, file)).raise_for_status().json()["execution_id"]
    assert await lists(world) == ([f"{HELD}{run}"] if near else [])
    assert (await world.store.tags(COLLECTION, bytes_key(file)) == {}) is near


@pytest.mark.parametrize("days", [1.0])
async def test_a_run_is_refused_whose_input_goes_just_now(client: httpx.AsyncClient, world: World) -> None:
    stays, goes = await upload(client), await upload(client)
    await world.store.put(COLLECTION, deleting_key(goes), b"")
    answer = await ask(client, world, stays, goes)
    told = answer.json()
    assert (answer.status_code, told["code"], told["details"]) == (
        404,
        "input_datasets_not_found",
        {"missing_dataset_ids": [goes]},
    )
    assert "Upload them again" in told["detail"]
    assert (await lists(world), await world.store.tags(COLLECTION, bytes_key(stays))) == ([], {"expiring": "yes"})


@pytest.mark.parametrize(
    ("ago", "known"),
    [
        (timedelta(0), False),
        (KNOWN_AFTER, True),
        (-timedelta(hours=1), True),
        (KNOWN_AFTER / 2, False),
        (-KNOWN_AFTER / 2, False),
    ],
)
def test_what_was_set_just_now_may_not_be_known_to_all(ago: timedelta, known: bool) -> None:
    said = Retention(project="lab1", changed_at=utc_now() - ago, changed_by="max", file_days=1.0)
    assert known_to_all(said) is known
