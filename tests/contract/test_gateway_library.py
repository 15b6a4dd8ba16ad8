"""A library: a project whose algorithms everybody sees and runs, each in a project of their own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from messages.trainings import TrainingCheckpointSaved
from shared import checkpoints
from shared.algorithms import ASSETS, index_key, pack_index
from shared.control.objects import Project
from tests.contract.closed_world import MADE, Closed
from tests.contract.closed_world import closed as closed
from tests.unit.training_samples import checkpoint_of
from voxloom.client import AsyncClient
from voxloom.ids import new_id

LIST = "/api/v1/algorithms"


@dataclass
class Common:
    """An algorithm in the library `common`, and somebody of lab1 and of lab2."""

    closed: Closed
    algorithm: str
    mia: httpx.AsyncClient
    olga: httpx.AsyncClient
    root: httpx.AsyncClient


@pytest.fixture
async def common(closed: Closed) -> AsyncIterator[Common]:
    async with closed.asking("mia") as mia, closed.asking("olga") as olga, closed.asking("root") as root:
        await ok(root.put("/api/v1/projects/common", json={"name": "For all", "library": True}))
        algorithm = await closed.world.deploy(project="common", name="Denoise")
        yield Common(closed, algorithm, mia, olga, root)


async def ok(sent: Any) -> httpx.Response:
    answer: httpx.Response = await sent
    assert answer.status_code == 200, answer.text
    return answer


async def code(sent: Any) -> tuple[int, str]:
    answer: httpx.Response = await sent
    return answer.status_code, answer.json()["code"]


async def run(client: httpx.AsyncClient, algorithm: str) -> str:
    body = {"algorithm_id": algorithm, "input_dataset_ids": []}
    return str((await ok(client.post("/api/v1/executions", json=body))).json()["execution_id"])


async def ids(client: httpx.AsyncClient, path: str = LIST) -> list[str]:
    return [one["algorithm_id"] for one in (await ok(client.get(path))).json()]


async def test_everybody_finds_what_is_in_it(common: Common) -> None:
    for client in (common.mia, common.olga):
        assert await ids(client) == [common.algorithm]
        by_name = (await ok(client.get("/api/v0/algorithm/denoise/1"))).json()
        assert (by_name["algorithm_id"], by_name["project"]) == (common.algorithm, "common")


async def test_a_run_of_it_is_the_callers_own(common: Common) -> None:
    mine = await run(common.mia, common.algorithm)
    assert (await ok(common.mia.get(f"/api/v1/executions/{mine}"))).json()["project"] == "lab1"
    assert await code(common.olga.get(f"/api/v1/executions/{mine}")) == (404, "execution_record_not_found")


async def test_nothing_else_of_it_is_for_everybody(common: Common) -> None:
    headers = {"Voxloom-Project": "common"}
    body = {"algorithm_id": common.algorithm, "input_dataset_ids": []}
    asked = await ok(common.root.post("/api/v1/executions", json=body, headers=headers))
    theirs = asked.json()["execution_id"]
    assert await code(common.mia.get(f"/api/v1/executions/{theirs}")) == (404, "execution_record_not_found")
    assert await code(common.mia.get(LIST, headers=headers)) == (403, "project_not_allowed")


async def test_a_viewer_sees_it_and_does_not_run_it(common: Common) -> None:
    async with common.closed.asking("vera") as vera:
        assert await ids(vera) == [common.algorithm]
        body = {"algorithm_id": common.algorithm, "input_dataset_ids": []}
        assert await code(vera.post("/api/v1/executions", json=body)) == (403, "forbidden")


async def test_only_its_managers_take_something_out(common: Common) -> None:
    for path in (f"/api/v0/deploy/algorithm/{common.algorithm}", "/api/v1/algorithms/Denoise/1"):
        assert await code(common.olga.delete(path)) == (403, "forbidden")
    assert await ids(common.mia) == [common.algorithm]


async def test_ones_own_of_the_same_name_is_found_instead(common: Common) -> None:
    own = await common.closed.world.deploy(project="lab2", name="DENOISE")
    assert (await ids(common.olga), await ids(common.mia)) == ([own], [common.algorithm])
    found = (await ok(common.olga.get("/api/v0/algorithm/Denoise/1"))).json()
    assert found["algorithm_id"] == own
    # And that of the library still by its id
    await run(common.olga, common.algorithm)


async def test_what_one_project_teaches_it_the_other_does_not_see(common: Common) -> None:
    training = new_id()
    facts = {"project": "lab1", "training_id": training, "algorithm_id": common.algorithm, "algorithm_name": "Denoise"}
    learnt = checkpoint_of({"files/w": "0" * 64}, **facts)
    await checkpoints.save(common.closed.world.store, learnt)
    await common.closed.world.bus.publish(TrainingCheckpointSaved(subject=training, project="lab1", checkpoint=learnt))

    shown = [(await ok(one.get(f"{LIST}/{common.algorithm}"))).json() for one in (common.mia, common.olga)]
    assert [one["checkpoints"] for one in shown] == [[learnt.checkpoint_id], []]


async def test_no_export_has_what_another_project_has_taught_it(common: Common) -> None:
    # Given an algorithm whose assets are there, so that an export gets as far as to what was learnt
    store, text = common.closed.world.store, b'[project]\nname = "Denoise"\nversion = "1.0"\n'
    await store.put(ASSETS, digest := hashlib.sha256(text).hexdigest(), text)
    await store.put(ASSETS, index_key("a"), pack_index({"pyproject.toml": digest})[1])
    learnt = checkpoint_of({"files/w": digest}, project="lab1", algorithm_id=common.algorithm)
    await checkpoints.save(store, learnt)
    # When both ask for it
    export = f"/api/v0/algorithm/Denoise/1/export?checkpoint_id={learnt.checkpoint_id}"
    codes = [await code(one.get(export)) for one in (common.mia, common.olga)]
    # Then only the one whose it is gets beyond that: what it then lacks are modules
    assert codes == [(404, "object_not_found"), (404, "checkpoint_not_found")]


async def test_it_ends_at_once(common: Common) -> None:
    await ok(common.root.put("/api/v1/projects/common", json={"name": "For all", "library": False}))
    assert await code(common.mia.get(f"{LIST}/{common.algorithm}")) == (404, "algorithm_not_found")
    body = {"algorithm_id": common.algorithm, "input_dataset_ids": []}
    assert await code(common.mia.post("/api/v1/executions", json=body)) == (404, "algorithm_not_found")


async def test_a_new_name_leaves_it_a_library(common: Common) -> None:
    changed = (await ok(common.root.put("/api/v1/projects/common", json={"name": "Ours"}))).json()
    assert (changed["name"], changed["library"]) == ("Ours", True)


def test_a_project_of_an_older_version_is_none() -> None:
    assert Project(id="lab1", **MADE).library is False


async def test_of_two_libraries_the_first_is_found_by_name_and_the_other_by_its_project(common: Common) -> None:
    await ok(common.root.put("/api/v1/projects/atlas", json={"library": True}))
    first = await common.closed.world.deploy(project="atlas", name="DENOISE")
    found = (await ok(common.mia.get("/api/v0/algorithm/Denoise/1"))).json()
    assert (found["algorithm_id"], await ids(common.mia)) == (first, [first])
    assert await ids(common.mia, f"{LIST}?project=common") == [common.algorithm]
    assert await ids(common.mia, f"{LIST}?project=lab2") == []
    await run(common.mia, common.algorithm)


async def test_the_client_finds_by_its_id_what_a_name_does_not_lead_to(common: Common) -> None:
    own = await common.closed.world.deploy(project="lab2", name="Denoise")
    url, token = common.closed.world.gateway.url, common.closed.people.tokens["olga"]
    async with AsyncClient(url, token=token) as client:
        found = [(await client.find(one)).algorithm_id for one in ("Denoise:1", common.algorithm)]
        listed = [one.algorithm_id async for one in client.algorithms_of("common")]
    assert (found, listed) == ([own, common.algorithm], [common.algorithm])
