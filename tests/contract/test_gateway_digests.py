"""Digests of what comes and goes over HTTP, bodies that are no whole files, and what is no HTTP at all."""

from __future__ import annotations

import asyncio

import httpx
import orjson
import pytest

from shared.files import COLLECTION
from shared.objects.base import list_all
from tests.contract.gateway_world import HDF5, World
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway_files import upload
from tests.contract.test_gateway_uploads import put, refusal
from voxloom.client import AsyncClient
from voxloom.digests import as_header, digest_of
from voxloom.errors import Damaged

OTHER = as_header(digest_of(b"other bytes"))
NO_FILES = [
    ({"Content-Range": "bytes 0-9/100"}, (400, "unsupported_content_range")),
    ({"Content-Encoding": "gzip"}, (415, "unsupported_content_encoding")),
    ({"Content-Type": "multipart/form-data; boundary=x"}, (415, "unsupported_media_type")),
    ({"Repr-Digest": OTHER}, (400, "digest_mismatch")),
    ({"Content-Digest": OTHER}, (400, "digest_mismatch")),
    ({"Repr-Digest": "sha-256=no"}, (400, "digest_invalid")),
]
HEADERS = pytest.mark.parametrize(("headers", "told"), NO_FILES, ids=[" ".join(to) for to, _ in NO_FILES])


async def kept(world: World) -> list[str]:
    return [item.key async for item in list_all(world.store, COLLECTION)]


@pytest.mark.parametrize("path", ["/api/v0/files", "/api/v1/algorithms"])
@HEADERS
async def test_a_body_that_is_no_whole_file_is_refused_and_not_kept(
    client: httpx.AsyncClient, world: World, path: str, headers: dict[str, str], told: tuple[int, str]
) -> None:
    body = HDF5 if "files" in path else b"PK\x03\x04" + bytes(100)

    assert refusal(await client.post(path, content=body, headers=headers)) == told

    assert await kept(world) == []


@HEADERS
async def test_a_put_to_a_url_is_as_strict(
    client: httpx.AsyncClient, world: World, headers: dict[str, str], told: tuple[int, str]
) -> None:
    assert refusal(await put(client, "scan", headers=headers)) == told
    assert await kept(world) == []


async def test_bytes_with_their_right_digest_are_taken(client: httpx.AsyncClient) -> None:
    right = {"Repr-Digest": as_header(digest_of(HDF5))}
    posted = await client.post("/api/v0/files", content=HDF5, headers=right)
    assert [posted.status_code, (await put(client, "scan", headers=right)).status_code] == [200, 200]


async def test_every_way_to_get_a_file_tells_the_digest_of_the_whole(client: httpx.AsyncClient) -> None:
    # Given a file, and its URL
    file_id = await upload(client, 1000)
    path = f"/api/v0/files/{file_id}"
    url = (await client.get(f"/api/v1/files/{file_id}/download-url")).json()["url"]

    # When it is asked for whole, in part, and without its bytes
    answers = [
        await ask(where, headers=headers)
        for where in (path, url)
        for ask, headers in ((client.get, {}), (client.get, {"Range": "bytes=5-9"}), (client.head, {}))
    ]

    # Then
    assert [answer.status_code for answer in answers] == [200, 206, 200] * 2
    assert {answer.headers["Repr-Digest"] for answer in answers} == {as_header(digest_of(HDF5 + bytes(1000)))}


@pytest.mark.parametrize("way", ["posted", "put"])
async def test_a_files_record_has_its_digest(client: httpx.AsyncClient, way: str) -> None:
    name = await upload(client) if way == "posted" else "scan"
    if way == "put":
        await put(client, name)
    assert (await client.get(f"/api/v1/files/{name}")).json()["digest"] == digest_of(HDF5)


async def test_the_client_notices_bytes_that_have_changed(client: httpx.AsyncClient, world: World) -> None:
    # Given a file of which a bit flips on the disk
    file_id = await upload(client, 1000)
    for path in (world.store.scratch.parent / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[:-1] + b"\1")

    # When it is downloaded, then there is no file
    target = world.store.scratch / "target.h5"
    async with AsyncClient(world.gateway.url) as ours:
        with pytest.raises(Damaged) as caught:
            await ours.download(file_id, target)
    assert (caught.value.code, target.exists()) == ("download_damaged", False)


# --- what is no HTTP --------------------------------------------------------------------------------------


async def said(world: World, raw: bytes) -> tuple[bytes, dict[str, object]]:
    """Status line and problem of the answer to these bytes."""
    host, port = httpx.URL(world.gateway.url).host, httpx.URL(world.gateway.url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(raw)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    problem: dict[str, object] = orjson.loads(body)
    return head.split(b"\r\n")[0], problem


@pytest.mark.parametrize(
    "raw",
    [
        b"no http at all\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v0/files HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n",
        b"POST /api/v0/files HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_as_http_is_a_problem_like_others(
    client: httpx.AsyncClient, world: World, raw: bytes
) -> None:
    status, problem = await said(world, raw)
    assert status.startswith(b"HTTP/1.1 400 ") or status.startswith(b"HTTP/1.0 400 ")
    assert (problem["status"], problem["code"]) == (400, "http_400")
    assert "no HTTP request that can be read" in str(problem["detail"])


@pytest.mark.parametrize("path", [b"/api/v0/files", b"/signed/data-store/x"])
async def test_what_nobody_can_expect_is_a_problem_like_others(
    client: httpx.AsyncClient, world: World, path: bytes
) -> None:
    method = b"POST" if b"api" in path else b"PUT"
    status, problem = await said(
        world, b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n" % (method, path)
    )
    assert (status.split()[1], problem["code"]) == (b"417", "http_417")
