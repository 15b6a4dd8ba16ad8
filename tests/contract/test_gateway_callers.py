"""What is made belongs to the project of whoever has asked for it."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from messages.runs import RunRequested
from services.gateway.http import callers
from shared.caller import LOCAL, Caller
from tests.contract.gateway_world import HDF5, World
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway import ZIP
from tests.unit.memory_platform import WORK
from voxloom.ids import new_id

ANNA = Caller("anna", "lab1", LOCAL.rights)
"""Who sees her own project alone."""


@pytest.fixture
def as_anna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LOCAL", ANNA)


async def upload(client: httpx.AsyncClient, key: str | None = None) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    return str((await client.post("/api/v0/files", content=HDF5, headers=headers)).json()["file_id"])


async def test_files_runs_samples_and_deploys_are_of_the_callers_project(
    client: httpx.AsyncClient, world: World, as_anna: None
) -> None:
    algorithm = await world.deploy(project="lab1")

    # When one of each is asked for
    file = await upload(client)
    run = await client.post("/api/v1/executions", json={"algorithm_id": algorithm, "input_dataset_ids": [file]})
    sample = await client.post("/api/v1/samples", json={"files": [{"image": [file]}]})
    deploy = await client.post("/api/v1/algorithms", content=ZIP)

    # Then all of them say whose they are
    records = [
        await client.get(f"/api/v1/files/{file}"),
        await client.get(f"/api/v1/executions/{run.json()['execution_id']}"),
        await client.get(f"/api/v1/samples/{sample.json()['sample_id']}"),
        await client.get(f"/api/v1/deploys/{deploy.json()['deploy_id']}"),
    ]
    assert [record.json()["project"] for record in records] == ["lab1"] * 4


async def test_while_nobody_says_who_they_are_everybody_sees_all_projects(
    client: httpx.AsyncClient, world: World
) -> None:
    """Those of runs that were asked for by an event, say."""
    run = RunRequested(subject=new_id(), project="lab1", work=WORK)
    await world.bus.publish(run)
    await world.settled()

    record = await client.get(f"/api/v1/executions/{run.subject}")
    listed = await client.get("/api/v1/executions", params={"project": "lab1"})

    assert (record.json()["project"], [one["execution_id"] for one in listed.json()]) == ("lab1", [run.subject])


async def test_a_key_of_one_person_is_not_that_of_another(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "LOCAL", ANNA)
    first = await upload(client, "scan-1")
    again = await upload(client, "scan-1")
    monkeypatch.setattr(callers, "LOCAL", replace(ANNA, principal="berta"))

    assert (again, await upload(client, "scan-1") in (first, "")) == (first, False)


async def test_a_key_of_one_project_is_not_that_of_another(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await upload(client, "scan-1")
    monkeypatch.setattr(callers, "LOCAL", ANNA)

    assert await upload(client, "scan-1") not in (first, "")
