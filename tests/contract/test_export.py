"""Algorithms out and in again, by a gateway and a deployer on the embedded bus and store."""

from __future__ import annotations

import io
import tomllib
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.deployer.service import Deployer
from services.gateway.service import Gateway
from shared import checkpoints
from shared.algorithms import ASSETS
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.gateway_world import platform_at
from tests.contract.platform_support import running
from tests.contract.s3_process import ONE_BUCKET
from tests.contract.test_deployer import QUICK, zipped
from tests.s3server import S3Server, new_name
from tests.unit.training_samples import checkpoint_of


class Server:
    def __init__(self, client: httpx.AsyncClient, store: Any) -> None:
        self.client = client
        self.store = store

    async def deploy(self, data: bytes, **query: Any) -> dict[str, Any]:
        answer = await self.client.post("/api/v1/algorithms", content=data, params=query)
        assert answer.status_code == 200, answer.text
        return {key: answer.json()[key] for key in ("algorithm_id", "algorithm_name", "algorithm_minor_version")}

    async def about(self, place: str = "echo/1") -> dict[str, bool]:
        """Of what an override can change."""
        record = (await self.client.get(f"/api/v0/algorithm/{place}")).json()
        return {key: record[key] for key in ("removable", "exportable")}

    async def export(self, place: str = "echo/1", **query: Any) -> httpx.Response:
        return await self.client.get(f"/api/v0/algorithm/{place}/export", params=query)


@asynccontextmanager
async def server_at(folder: Path, **settings: Any) -> AsyncIterator[Server]:
    async with (
        platform_at(folder, **settings) as platform,
        running(Deployer, platform),
        running(Gateway, platform) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=30) as client,
    ):
        yield Server(client, platform.store)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with server_at(tmp_path / "one") as one:
        yield one


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {path: archive.read(path) for path in archive.namelist()}


CHANGED = {**QUICK, "helper.py": "x = 1"}


async def test_an_export_deploys_again_and_adds_nothing(server: Server) -> None:
    await server.deploy(zipped(QUICK))
    latest = await server.deploy(zipped(CHANGED))

    again = await server.deploy((await server.export()).content)

    assert again == latest | {"algorithm_minor_version": "1"}


async def test_an_export_says_its_minor_version_wherever_it_is_deployed(server: Server, tmp_path: Path) -> None:
    await server.deploy(zipped(QUICK), algorithm_name="other", algorithm_major_version="3")
    await server.deploy(zipped(CHANGED), algorithm_name="other", algorithm_major_version="3")
    exported = await server.export("OTHER/3")

    async with server_at(tmp_path / "two") as two:
        there = await two.deploy(exported.content)

    project = tomllib.loads(files_of(exported.content)["pyproject.toml"].decode())["project"]
    assert project == {"name": "other", "version": "3.1"}
    assert (there["algorithm_name"], there["algorithm_minor_version"]) == ("other", "1")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="other_v3"'


async def test_what_the_deploy_has_overridden_travels(server: Server, tmp_path: Path) -> None:
    # Given an algorithm that hides its sources, deployed as one that may be exported and not be removed
    hidden = {**QUICK, "pyproject.toml": QUICK["pyproject.toml"] + "obfuscate = true\n"}
    first = await server.deploy(zipped(hidden), exportable=True, removable=False)
    exported = (await server.export()).content
    # When its export is deployed elsewhere, and the export of that
    async with server_at(tmp_path / "two") as two:
        await two.deploy(exported)
        there = await two.about()
        again = (await two.export()).content
    # Then it is so there, too, and the first server has nothing new
    assert there == {"removable": False, "exportable": True}
    assert files_of(again) == files_of(exported)
    assert await server.deploy(exported) == first


@pytest.mark.parametrize("key", ["obfuscate", "pyc_only"])
async def test_who_asks_to_hide_sources_is_not_exported(server: Server, key: str) -> None:
    # Given an algorithm that could be exported
    await server.deploy(zipped(QUICK))
    assert (await server.export()).status_code == 200
    # When it is deployed again and asks to hide its sources, without a word on exports
    hidden = {**QUICK, "pyproject.toml": QUICK["pyproject.toml"] + f"{key} = true\n"}
    await server.deploy(zipped(hidden))
    # Then no version of it comes out any more
    answers = [await server.export(**query) for query in ({}, {"algorithm_minor_version": "0"})]
    assert [answer.json()["code"] for answer in answers] == ["algorithm_not_exportable"] * 2
    assert all({"algorithm_name", "algorithm_major_version"} <= answer.json()["details"].keys() for answer in answers)
    assert (await server.about())["exportable"] is False


async def test_who_asks_to_hide_sources_and_allows_exports_is_exported_with_them(server: Server) -> None:
    said = QUICK["pyproject.toml"] + "obfuscate = true\nexportable = true\n"
    deployed = await server.deploy(zipped({**QUICK, "pyproject.toml": said}))

    exported = (await server.export()).content

    assert files_of(exported) == {path: text.encode() for path, text in {**QUICK, "pyproject.toml": said}.items()}
    assert await server.deploy(exported) == deployed


async def test_an_export_takes_overrides_of_its_own(server: Server) -> None:
    first = await server.deploy(zipped(QUICK), removable=False)

    again = await server.deploy((await server.export()).content, removable=True)

    assert (again, (await server.about())["removable"]) == (first, True)


async def test_an_edit_of_what_could_be_overridden_is_a_new_minor_version(server: Server) -> None:
    await server.deploy(zipped(QUICK))
    edited = {**QUICK, "pyproject.toml": QUICK["pyproject.toml"].replace("removable = true", "removable = false")}

    assert (await server.deploy(zipped(edited)))["algorithm_minor_version"] == "1"


@pytest.mark.usefixtures("s3_keys")
async def test_an_algorithm_on_s3_comes_out_as_it_went_in(s3_server: S3Server, tmp_path: Path) -> None:
    store = S3ObjectStore(S3Place.from_url(s3_server.url(ONE_BUCKET, name=f"{new_name()}all")), tmp_path / "node")
    async with server_at(tmp_path, on=store) as server:
        deployed = await server.deploy(zipped(QUICK))
        exported = (await server.export()).content

        assert files_of(exported) == {path: text.encode() for path, text in QUICK.items()}
        assert await server.deploy(exported) == deployed


async def test_a_checkpoint_lies_over_the_assets(server: Server) -> None:
    deployed = await server.deploy(zipped(QUICK))
    await server.store.put(ASSETS, "c" * 64, b"learnt")
    checkpoint = checkpoint_of({"files/weights.pt": "c" * 64}, algorithm_id=deployed["algorithm_id"])
    await checkpoints.save(server.store, checkpoint)

    exported = await server.export(checkpoint_id=checkpoint.checkpoint_id)

    assert set(files_of(exported.content)) == set(QUICK)
    assert files_of(exported.content)["files/weights.pt"] == b"learnt"


@pytest.mark.parametrize(
    ("place", "query", "status", "code"),
    [
        ("none/1", {}, 404, "algorithm_not_found"),
        ("echo/x", {}, 422, "request_validation_error"),
        ("echo/1", {"algorithm_minor_version": "x"}, 422, "request_validation_error"),
        ("echo/1", {"algorithm_minor_version": "7"}, 404, "minor_version_not_found"),
        ("echo/1", {"checkpoint_id": "../x"}, 404, "checkpoint_not_found"),
        ("closed/1", {}, 403, "algorithm_not_exportable"),
    ],
)
async def test_what_cannot_be_exported_is_refused(
    server: Server, place: str, query: dict[str, str], status: int, code: str
) -> None:
    await server.deploy(zipped(QUICK))
    await server.deploy(zipped(QUICK), algorithm_name="closed", exportable=False)

    answer = await server.export(place, **query)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
