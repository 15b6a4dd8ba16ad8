"""Deploys by every way in, by a gateway and a deployer on the embedded bus and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_deployer import GOOD, QUICK, zipped
from tests.contract.test_export import Server, server_at
from voxloom.client import AsyncClient

LOCAL, LATER, UPLOAD = "/api/v0/deploy/local", "/api/v0/deploy/local-async", "/api/v1/algorithms"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    (tmp_path / "roots").mkdir()
    async with server_at(tmp_path / "one", deploy_roots=[tmp_path / "roots"]) as one:
        yield one


def folder_with(files: Mapping[str, str | bytes], folder: Path) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


async def deploy_by(way: str, server: Server, folder: Path, files: Mapping[str, str | bytes], **query: Any) -> Any:
    """The answer, of `local-async` the record of the end."""
    if way == UPLOAD:
        return (await server.client.post(UPLOAD, content=zipped(files), params=query)).json()
    source = folder_with(files, folder / "roots" / "mine")
    answer = (await server.client.post(way, params={"path": str(source), **query})).json()
    return answer if way == LOCAL else await end_of(server, answer["deploy_id"])


async def end_of(server: Server, deploy_id: str) -> Any:
    async with asyncio.timeout(30):
        while True:
            record = (await server.client.get(f"/api/v0/deploy/{deploy_id}")).json()
            if record["status"] not in ("PENDING", "RUNNING"):
                return record
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("way", [LOCAL, LATER, UPLOAD])
async def test_what_is_said_with_the_deploy_goes_before_the_pyproject(server: Server, tmp_path: Path, way: str) -> None:
    # When an algorithm is deployed by that way, with all overrides
    said = {"algorithm_name": "Other", "algorithm_major_version": "7", "removable": "yes", "exportable": "off"}
    record = await deploy_by(way, server, tmp_path, QUICK, **said)
    # Then it has that name and version, may be removed, and not be exported
    assert (record["algorithm_name"], record["algorithm_major_version"]) == ("Other", "7")
    known = (await server.client.get("/api/v0/algorithm/other/7")).json()
    assert (known["removable"], known["exportable"]) == (True, False)


@pytest.mark.parametrize("way", [LOCAL, LATER, UPLOAD])
@pytest.mark.parametrize("name", ["a/b", "~root", "..", "a\0b", "x" * 10_000])
async def test_a_name_that_is_none_is_refused_by_every_way(server: Server, tmp_path: Path, way: str, name: str) -> None:
    source = folder_with(QUICK, tmp_path / "roots" / "mine")
    query = {"path": str(source)} if way != UPLOAD else {}
    answer = await server.client.post(way, params={**query, "algorithm_name": name}, content=zipped(QUICK))
    assert 400 <= answer.status_code < 500 or (await end_of(server, answer.json()["deploy_id"]))["status"] == "FAILED"
    assert (await server.client.get("/api/v1/algorithms")).json() == []


async def test_why_an_algorithm_cannot_be_imported_is_in_its_record(server: Server, tmp_path: Path) -> None:
    files = {**GOOD, "Runner.py": "import no_such_library\n"}
    record = await deploy_by(LATER, server, tmp_path, files)
    assert record["status"] == "FAILED"
    assert "no_such_library" in record["error"]["message"]


async def test_a_path_that_is_none_is_refused_before_anything_begins(server: Server, tmp_path: Path) -> None:
    answer = await server.client.post(LATER, params={"path": str(tmp_path / "roots" / "none")})
    assert (answer.status_code, answer.json()["code"]) == (400, "deploy_path_not_found")
    answer = await server.client.post(LATER, params={"path": "/etc"})
    assert (answer.status_code, answer.json()["code"]) == (403, "deploy_path_not_allowed")


async def test_the_same_key_means_the_same_deploy(server: Server, tmp_path: Path) -> None:
    source = folder_with(QUICK, tmp_path / "roots" / "mine")
    headers = {"Idempotency-Key": "one"}
    answers = [await server.client.post(LATER, params={"path": str(source)}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = await server.client.post(LOCAL, params={"path": str(source)}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_the_client_exports_what_it_deploys_again(server: Server, tmp_path: Path) -> None:
    first = await server.deploy(zipped(QUICK))
    async with AsyncClient(str(server.client.base_url)) as client:
        path = await client.export("echo", 1, tmp_path / "echo.zip")
        again = await client.deploy(path)
    assert (again.algorithm_id, again.algorithm_minor_version) == (first["algorithm_id"], "0")
