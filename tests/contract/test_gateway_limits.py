"""What a client sends is refused where what follows from it would not fit into a message, whatever it asks for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.bus import limits
from tests.contract.gateway_world import World
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway_training import make_sample

LARGEST = 4096
MUCH = "x" * LARGEST


@pytest.fixture(autouse=True)
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGEST", LARGEST)


def refusal(answer: httpx.Response) -> tuple[int, str, bool]:
    return answer.status_code, answer.json()["code"], str(LARGEST) in answer.json()["detail"]


async def body_of(world: World, client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    algorithm = {"algorithm_id": await world.deploy(), "additional_parameters": {"x": MUCH}}
    if "train" in path:
        return {**algorithm, "training_data": [await make_sample(client)]}
    return algorithm if "benchmark" in path else {**algorithm, "input_dataset_ids": []}


@pytest.mark.parametrize("key", [None, "once"])
@pytest.mark.parametrize("path", ["execute-algorithm", "train-algorithm", "benchmark-algorithm"])
async def test_a_run_that_would_not_fit_is_refused_and_leaves_its_key_to_one_that_does(
    world: World, client: httpx.AsyncClient, path: str, key: str | None
) -> None:
    body, headers = await body_of(world, client, path), {"Idempotency-Key": key} if key else {}
    refused = [await client.post(f"/api/v0/{path}", json=body, headers=headers) for _ in range(2)]
    assert [refusal(answer) for answer in refused] == [(413, "too_large", True)] * 2
    good = {**body, "additional_parameters": {}}
    assert (await client.post(f"/api/v0/{path}", json=good, headers=headers)).status_code == 200


async def test_a_sample_that_could_not_be_told_of_is_refused_and_is_not_there(client: httpx.AsyncClient) -> None:
    sample = await make_sample(client)
    body = {"files": (await client.get(f"/api/v0/sample/{sample}")).json()["files"], "tags": [MUCH]}
    assert refusal(await client.post("/api/v0/sample", json=body)) == (413, "too_large", True)
    assert [one["sample_id"] for one in (await client.get("/api/v1/samples")).json()] == [sample]


async def test_a_deploy_that_could_not_be_told_of_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/algorithms", params={"algorithm_name": MUCH}, content=b"PK\x03\x04")
    assert refusal(answer) == (413, "too_large", True)
    assert (await client.get("/api/v1/deploys")).json() == []
