"""Names that clients give their files are their project's own: two projects may have the same one."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from shared.file_names import upload_key
from shared.files import COLLECTION
from tests.contract.gateway_world import HDF5, World
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway_uploads import path_of, put, refusal
from tests.contract.test_gateway_walk import anna as anna
from tests.contract.test_gateway_walk import as_told as as_told
from tests.contract.test_gateway_walk import asking, ok
from tests.contract.test_gateway_walk import bob as bob
from voxloom.ids import new_id

ANNAS, BOBS, EVERYBODYS = HDF5 + b"anna", HDF5 + b"bob", HDF5 + b"everybody"


@pytest.fixture
async def scans(world: World, anna: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    """Each has a file of the same name."""
    await put(anna, "scan", ANNAS)
    await put(bob, "scan", BOBS)
    async with asking(world, "local") as everybody:
        await put(everybody, "scan", EVERYBODYS)
        assert (await everybody.get("/api/v0/files/scan")).content == EVERYBODYS


async def content(client: httpx.AsyncClient, name: str) -> bytes:
    return (await ok(client.get(f"/api/v0/files/{quote(name, safe='')}"))).content


async def test_each_finds_its_own(scans: None, anna: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    assert [await content(one, "scan") for one in (anna, bob)] == [ANNAS, BOBS]
    assert [await content(anna, "@lab1/scan"), await content(bob, "@lab2/scan")] == [ANNAS, BOBS]


@pytest.mark.parametrize("name", ["@lab1/scan", "@lab1/none", "@lab9/scan"])
async def test_the_file_of_another_project_is_not_there(scans: None, bob: httpx.AsyncClient, name: str) -> None:
    for method, path in (
        ("GET", path_of(name)),
        ("GET", path_of(name, "/download-url")),
        ("GET", f"/api/v0/files/{quote(name, safe='')}"),
        ("DELETE", path_of(name)),
    ):
        assert refusal(await bob.request(method, path)) == (404, "file_not_found")


async def test_a_name_is_taken_in_ones_own_project_alone(anna: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    await put(anna, "scan", ANNAS)
    await ok(anna.get(path_of("scan")))
    assert refusal(await anna.get(path_of("scan", "/upload-url"))) == (409, "file_exists")
    assert refusal(await anna.get(path_of("@lab1/scan", "/upload-url"))) == (409, "file_exists")
    await ok(bob.get(path_of("scan", "/upload-url")))


@pytest.mark.parametrize("name", ["@lab1/scan", "@lab9/scan", "@default/scan"])
async def test_what_looks_like_a_name_of_another_project_is_ones_own(
    scans: None, anna: httpx.AsyncClient, bob: httpx.AsyncClient, name: str
) -> None:
    await put(bob, name, HDF5 + b"odd")
    assert await content(bob, name) == HDF5 + b"odd"
    assert await content(anna, "@lab1/scan") == ANNAS


async def test_what_default_has_put_under_the_id_of_a_projects_file_is_not_the_projects(
    world: World, anna: httpx.AsyncClient
) -> None:
    # Given what the gateway of an earlier version let somebody of `default` put there, or an open server
    await world.store.put(COLLECTION, upload_key("default", "@lab1/scan"), EVERYBODYS)
    # When one of that project asks for it
    assert refusal(await anna.get(path_of("scan"))) == (404, "file_not_found")
    # Then it is still there for whose it is, and the name for the project
    async with asking(world, "carl") as carl:
        assert await content(carl, "@lab1/scan") == EVERYBODYS
        assert await content(carl, "@default/@lab1/scan") == EVERYBODYS
    await put(anna, "scan", ANNAS)
    assert await content(anna, "scan") == ANNAS


async def test_what_default_has_long_had_under_the_id_of_a_projects_file_takes_no_name_away(
    world: World, anna: httpx.AsyncClient
) -> None:
    # Given a file that was made while there were no projects
    async with asking(world, "local") as everybody:
        await put(everybody, "@lab1/scan", EVERYBODYS)
        assert await content(everybody, "@lab1/scan") == EVERYBODYS
    # When a project has a file of that name
    await put(anna, "scan", ANNAS)
    # Then each has its own
    assert [await content(anna, name) for name in ("scan", "@lab1/scan", "@system/lab1/scan")] == [ANNAS] * 3
    async with asking(world, "carl") as carl:
        assert await content(carl, "@lab1/scan") == EVERYBODYS
    assert refusal(await anna.get(path_of("scan", "/upload-url"))) == (409, "file_exists")


async def test_the_id_of_ones_own_file_is_no_new_name(anna: httpx.AsyncClient) -> None:
    own = (await ok(anna.post("/api/v0/files", content=ANNAS))).json()["file_id"]
    assert refusal(await anna.get(path_of(own, "/upload-url"))) == (409, "file_exists")


async def test_what_is_made_of_it_says_its_whole_id(
    world: World, scans: None, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    algorithm = await world.deploy(project="lab1", name="Own")
    body = {"algorithm_id": algorithm, "input_dataset_ids": ["scan"]}
    run = (await ok(anna.post("/api/v1/executions", json=body))).json()["execution_id"]
    sample = (await ok(anna.post("/api/v1/samples", json={"files": [{"image": ["scan"]}]}))).json()["sample_id"]
    record = (await ok(anna.get(f"/api/v1/executions/{run}"))).json()
    files = (await ok(anna.get(f"/api/v1/samples/{sample}"))).json()["files"]
    assert (record["input_dataset_ids"], files) == (["@lab1/scan"], [{"image": ["@lab1/scan"]}])
    # And it is in the list of those alone whose it is
    lists = [(await ok(one.get("/api/v1/files"))).json() for one in (anna, bob)]
    assert [[file["file_id"] for file in one] for one in lists] == [["@lab1/scan"], []]


async def test_a_sample_of_a_file_that_is_not_there_tells_the_name_that_was_sent(anna: httpx.AsyncClient) -> None:
    answer = await anna.post("/api/v1/samples", json={"files": [{"image": ["none"]}]})
    assert (refusal(answer), answer.json()["details"]["missing_file_ids"]) == (
        (404, "sample_input_files_not_found"),
        ["none"],
    )


async def test_a_name_that_looks_like_an_id_is_ones_own_too(anna: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    name = new_id()
    await put(anna, name, ANNAS)
    await put(bob, name, BOBS)
    assert [await content(one, name) for one in (anna, bob)] == [ANNAS, BOBS]


async def test_the_id_of_anothers_file_as_a_name_tells_nothing_and_takes_nothing_away(
    world: World, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    theirs = (await ok(anna.post("/api/v0/files", content=ANNAS))).json()["file_id"]
    async with asking(world, "carl") as carl:
        for client in (bob, carl):
            for name in (theirs, nobodys := new_id()):
                assert (await put(client, name, BOBS)).status_code == 200
                assert await content(client, name) == BOBS
            called = [(await ok(client.get(path_of(name)))).json()["file_id"] for name in (theirs, nobodys)]
            assert called[0].replace(theirs, "") == called[1].replace(nobodys, "")
    assert await content(anna, theirs) == ANNAS


async def test_a_name_is_not_that_of_another_with_a_slash(anna: httpx.AsyncClient) -> None:
    await put(anna, "/data/scan", ANNAS)
    assert await content(anna, "/data/scan") == ANNAS
    assert refusal(await anna.delete(path_of("data/scan"))) == (404, "file_not_found")
    await put(anna, "data/scan", BOBS)
    assert [await content(anna, name) for name in ("/data/scan", "data/scan")] == [ANNAS, BOBS]


@pytest.mark.parametrize("caller", ["anna", "carl", "local"])
async def test_what_has_the_longest_name_goes_again(world: World, caller: str) -> None:
    async with asking(world, caller) as client:
        refused = (await client.get(path_of("x" * 1000, "/upload-url"))).json()["detail"]
        name = "x" * int(refused.partition("1 to ")[2].split()[0])
        await put(client, name, ANNAS)
        assert await content(client, name) == ANNAS
        assert (await ok(client.get(path_of(name)))).json()["state"] == "available"
        await ok(client.put(path_of(name, "/keep")))
        await ok(client.delete(path_of(name)))


async def test_nobody_deletes_the_file_of_the_same_name(
    scans: None, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await ok(bob.delete(path_of("scan")))
    assert refusal(await bob.get(path_of("scan"))) == (404, "file_not_found")
    assert await content(anna, "scan") == ANNAS


async def test_events_of_files_name_them_whole(scans: None, world: World) -> None:
    told = {(event.subject, event.project) for event in world.heard if event.entity == "file"}
    assert {("@lab1/scan", "lab1"), ("@lab2/scan", "lab2"), ("scan", "default")} >= told
    assert "lab1" not in json.dumps([subject for subject, project in told if project != "lab1"])


async def test_keeping_a_run_tells_nothing_of_what_its_texts_name(
    world: World, scans: None, anna: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    # Given a file of lab1, and an algorithm of lab2 that returns its id: outputs may be any texts
    await content(anna, "scan")
    algorithm = await world.deploy(project="lab2", name="Own")
    body = {"algorithm_id": algorithm, "input_dataset_ids": []}
    run = (await ok(bob.post("/api/v1/executions", json=body))).json()["execution_id"]
    await world.complete(run, outputs=["@lab1/scan", "@lab1/none"])
    await world.settled()
    # When the run is kept, and let go
    kept = (await ok(bob.put(f"/api/v1/executions/{run}/keep"))).json()
    let_go = (await ok(bob.delete(f"/api/v1/executions/{run}/keep"))).json()
    # Then nobody learns whether the file is there, or how large it is
    assert [(one["file_count"], one["size_bytes"]) for one in (kept, let_go)] == [(0, 0), (0, 0)]
