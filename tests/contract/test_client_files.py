"""Files through both clients and on the command line: lists, what is in them, slices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from tests.contract.gateway_world import World, world_at
from voxloom.cli.files import size_text
from voxloom.cli.program import app
from voxloom.client import AsyncClient, Client
from voxloom.errors import InvalidInput, NotFound

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOLUME = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_at(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(world: World) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(world.gateway.url) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def file_id(client: AsyncClient) -> str:
    return await client.upload({"volume": VOLUME})


async def voxloom(world: World, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["--url", world.gateway.url, *arguments])


async def test_files_are_listed_over_pages(client: AsyncClient, file_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxloom.client._async.pages._PAGE", 1)
    more = await client.upload_many([VOLUME, VOLUME])
    assert {one.file_id async for one in client.files(kind="upload")} >= {file_id, *more}
    assert len([one async for one in client.files(limit=2)]) == 2


async def test_a_file_is_told_with_what_is_in_it(client: AsyncClient, file_id: str) -> None:
    assert (await client.file(file_id)).kind == "upload"
    (dataset,) = (await client.file_info(file_id)).datasets
    assert (dataset.name, dataset.shape, dataset.dtype) == ("volume", [4, 5, 6], "<u2")


async def test_a_slice_comes_as_an_array(client: AsyncClient, file_id: str) -> None:
    found = await client.slice(file_id, "volume", axis=2, index=5)
    np.testing.assert_array_equal(found, VOLUME[:, :, 5])
    assert found.dtype == VOLUME.dtype


async def test_the_synchronous_client_does_the_same(world: World, file_id: str, tmp_path: Path) -> None:
    def look() -> np.ndarray:
        with Client(world.gateway.url) as plain:
            assert file_id in [one.file_id for one in plain.files()]
            return plain.slice(file_id, index=1)

    np.testing.assert_array_equal(await asyncio.to_thread(look), VOLUME[1])


async def test_what_cannot_be_is_raised(client: AsyncClient, file_id: str) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 3"):
        await client.slice(file_id, index=4)
    with pytest.raises(NotFound):
        await client.file_info("none")


async def test_info_shows_datasets(world: World, file_id: str) -> None:
    done = await voxloom(world, "info", file_id)
    assert (done.exit_code, "volume" in done.stdout, "4 × 5 × 6" in done.stdout) == (0, True, True)
    told = json.loads((await voxloom(world, "info", file_id, "--json")).stdout)
    assert told["datasets"][0]["statistics"]["max"] == 119


async def test_ls_shows_files(world: World, file_id: str) -> None:
    assert file_id in (await voxloom(world, "ls", "files", "-n", "100")).stdout
    assert file_id in [one["file_id"] for one in json.loads((await voxloom(world, "ls", "files", "--json")).stdout)]
    assert "no list of 'x'" in (await voxloom(world, "ls", "x")).output


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (1258291, "1.2 MiB"), (1 << 42, "4 TiB")])
async def test_sizes_are_told_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
