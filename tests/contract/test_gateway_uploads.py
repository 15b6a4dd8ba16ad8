"""Files that come and go through URLs, over real HTTP."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import httpx
import pytest

from messages.files import FileUploaded
from shared.file_names import upload_key
from tests.contract.gateway_world import HDF5, World
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from voxloom.models import RunError

ODD = ["scan-1", "a/b", "~", "../../etc/passwd", "žluťoučký-顕微鏡", "with space", "x" * 800]


def path_of(name: str, what: str = "") -> str:
    return f"/api/v1/files/{quote(name, safe='')}{what}"


async def put(
    client: httpx.AsyncClient, name: str, data: bytes = HDF5, headers: dict[str, str] | None = None
) -> httpx.Response:
    url = (await client.get(path_of(name, "/upload-url"))).json()["url"]
    async with httpx.AsyncClient() as plain:
        return await plain.put(url, content=data, headers=headers)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("name", ODD)
async def test_what_was_put_is_a_file_of_that_name_at_once(client: httpx.AsyncClient, name: str) -> None:
    assert (await put(client, name, headers={"Content-Type": "text/odd", "X-Any": "header"})).status_code == 200
    assert (await client.get(f"/api/v0/files/{quote(name, safe='')}")).content == HDF5
    url = (await client.get(path_of(name, "/download-url"))).json()["url"]
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(url)).content == HDF5
    assert (await client.delete(path_of(name))).json() == {"detail": "File deleted successfully"}
    assert refusal(await client.get(path_of(name, "/download-url"))) == (404, "file_not_found")


@pytest.mark.parametrize("name", ["nul\0", "x" * 10_000, " "])
async def test_names_that_cannot_be_are_refused(client: httpx.AsyncClient, name: str) -> None:
    assert refusal(await client.get(path_of(name, "/upload-url"))) == (422, "request_validation_error")


async def test_it_is_an_input_right_after_the_put_and_looked_at_once(client: httpx.AsyncClient, world: World) -> None:
    algorithm = await world.deploy()
    await put(client, "scan")
    body = {"algorithm_id": algorithm, "input_dataset_ids": ["scan"]}
    answers = await asyncio.gather(*(client.post("/api/v0/execute-algorithm", json=body) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (await client.post("/api/v0/sample", json={"files": [{"image": ["scan"]}]})).status_code == 200
    assert any(isinstance(event, FileUploaded) for event in world.heard)


async def test_a_file_that_is_there_is_never_replaced(client: httpx.AsyncClient) -> None:
    # Given a URL that was made before the file was there
    late = (await client.get(path_of("scan", "/upload-url"))).json()["url"]
    await put(client, "scan")
    await client.get("/api/v0/files/scan")
    # When somebody asks for another, and uses the old one
    assert refusal(await client.get(path_of("scan", "/upload-url"))) == (409, "file_exists")
    async with httpx.AsyncClient() as plain:
        await plain.put(late, content=HDF5 + b"other")
    # Then the file is what it was
    assert (await client.get("/api/v0/files/scan")).content == HDF5


async def test_what_is_no_good_is_refused_when_it_is_first_used(client: httpx.AsyncClient, world: World) -> None:
    await put(client, "scan", b"no hdf5")
    world.reject = RunError(type="InvalidInput", message="It is no HDF5 file.", code="invalid_hdf5_file")
    body = {"algorithm_id": await _deployed(world), "input_dataset_ids": ["scan"]}
    answer = await client.post("/api/v0/execute-algorithm", json=body)
    assert refusal(answer) == (422, "invalid_hdf5_file")


async def _deployed(world: World) -> str:
    rejecting, world.reject = world.reject, None
    algorithm = await world.deploy()
    world.reject = rejecting
    return algorithm


async def test_what_nobody_has_put_is_not_found(client: httpx.AsyncClient) -> None:
    await client.get(path_of("scan", "/upload-url"))
    for method, path in (
        ("GET", "/api/v0/files/scan"),
        ("GET", path_of("scan", "/download-url")),
        ("DELETE", path_of("scan")),
    ):
        assert refusal(await client.request(method, path)) == (404, "file_not_found")
    assert (await client.get(path_of("scan", "/download-url"))).json()["details"] == {"object_name": "scan"}


async def test_a_url_is_good_for_its_object_alone(client: httpx.AsyncClient) -> None:
    url = (await client.get(path_of("scan", "/upload-url"))).json()["url"]
    other = url.replace(*(upload_key("default", name).rpartition("/")[2] for name in ("scan", "other")))
    async with httpx.AsyncClient() as plain:
        assert (await plain.put(other, content=HDF5)).status_code == 403
