"""URLs under which anybody gets or puts one object: they are of the address that people reach the server by."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiobotocore.session import get_session

from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import DATA
from tests.contract.s3_process import KEY, ONE_BUCKET, S3_KEY
from tests.contract.s3_proxy import WITHIN, Proxy, Trick, refuses
from tests.s3server import ACCESS_KEY, SECRET_KEY, S3Server, new_name
from tests.s3sessions import described
from voxloom.errors import Misconfigured

pytestmark = pytest.mark.usefixtures("s3_keys")


@pytest.fixture
def bucket() -> str:
    return f"{new_name()}all"


@pytest.fixture
async def store(s3_server: S3Server, s3_proxy: Proxy, bucket: str, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
    store = store_of(s3_server, bucket, s3_proxy.url, tmp_path)
    await store.open()
    yield store
    await store.close()


def store_of(server: S3Server, bucket: str, public: str, folder: Path) -> S3ObjectStore:
    url = server.url(ONE_BUCKET, f"public_endpoint={public}", name=bucket)
    return S3ObjectStore(S3Place.from_url(url), folder)


async def test_a_url_is_of_the_public_address_and_gets_the_object(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(100_000)
    await store.put(DATA, KEY, data)
    url = await store.presign("GET", DATA, KEY, expires=60)
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    assert (url.startswith(f"{s3_proxy.url}/"), answer.status_code, answer.content == data) == (True, 200, True)
    assert [(asked.method, asked.key) for asked in s3_proxy.seen] == [("GET", S3_KEY)]


async def test_a_url_gets_ranges(store: S3ObjectStore) -> None:
    await store.put(DATA, KEY, b"0123456789")
    url = await store.presign("GET", DATA, KEY, expires=60)
    async with httpx.AsyncClient() as client:
        answers = [await client.get(url, headers={"Range": f"bytes={span}"}) for span in ("2-4", "7-", "-1")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(206, b"234"), (206, b"789"), (206, b"9")]


async def test_a_url_puts_the_object(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(100_000)
    url = await store.presign("PUT", DATA, KEY, expires=60)
    async with httpx.AsyncClient() as client:
        answer = await client.put(url, content=data, headers={"Content-Type": "image/tiff"})
    assert (url.startswith(f"{s3_proxy.url}/"), answer.status_code) == (True, 200)
    assert await store.get(DATA, KEY) == data


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_url_expires(store: S3ObjectStore, method: str) -> None:
    await store.put(DATA, KEY, b"bytes")
    url = await store.presign("GET" if method == "GET" else "PUT", DATA, KEY, expires=3)
    async with httpx.AsyncClient() as client:
        statuses = [(await client.request(method, url)).status_code]
        deadline = time.monotonic() + WITHIN
        while statuses[-1] == 200 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            statuses.append((await client.request(method, url)).status_code)
    assert (statuses[0], statuses[-1]) == (200, 403)


async def test_a_url_is_signed_with_the_keys_of_the_moment(
    s3_server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given keys that a program tells anew, since they are soon over
    program, config = tmp_path / "keys.py", tmp_path / "config"
    program.write_text(KEYS_OF_THE_MOMENT)
    config.write_text(f"[default]\ncredential_process = {sys.executable} {program} {tmp_path / 'count'}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    store = store_of(s3_server, bucket, s3_server.endpoint, tmp_path / "node")
    await store.open()
    try:
        # When two URLs are asked for
        urls = [httpx.URL(await store.presign("GET", DATA, KEY, expires=60)) for _ in range(2)]
    finally:
        await store.close()
    # Then each has been signed with what the program had said last
    first, second = (int(url.params["X-Amz-Security-Token"]) for url in urls)
    assert second > first


KEYS_OF_THE_MOMENT = f"""
import datetime, json, pathlib, sys
count = pathlib.Path(sys.argv[1])
count.write_text(count.read_text() + "x" if count.exists() else "x")
over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
print(json.dumps({{
    "Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}",
    "SessionToken": str(len(count.read_text())), "Expiration": over.isoformat(),
}}))
"""


# Whether the address works.


async def test_a_public_address_that_works_passes_and_keeps_nothing(
    store: S3ObjectStore, s3_server: S3Server, s3_proxy: Proxy, bucket: str
) -> None:
    await store.self_test()
    assert [asked.method for asked in s3_proxy.seen] == ["PUT", "GET"]
    assert await all_in(s3_server, bucket) == []


async def test_a_public_address_that_nobody_answers_at_is_told(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    store = store_of(s3_server, bucket, address, tmp_path)
    await store.open()
    with pytest.raises(Misconfigured, match=rf"^Presigned URLs do not work under {address}: it does not answer"):
        await store.self_test()
    await store.close()


@pytest.mark.parametrize(
    ("trick", "told"),
    [
        (refuses(403, "SignatureDoesNotMatch"), "finds the signature wrong"),
        (refuses(404, "NoSuchBucket"), "may be another server"),
        (refuses(404, "no such page"), "it answered 404"),
    ],
)
async def test_a_public_address_of_something_else_is_told(
    store: S3ObjectStore, s3_proxy: Proxy, trick: Trick, told: str
) -> None:
    s3_proxy.play(trick, lambda asked: True)
    with pytest.raises(Misconfigured, match=told):
        await store.self_test()


async def test_an_address_that_gives_other_bytes_is_told(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    s3_proxy.play(refuses(200, "others"), lambda asked: asked.method == "GET")
    with pytest.raises(Misconfigured, match="other bytes"):
        await store.self_test()


async def all_in(server: S3Server, bucket: str) -> list[str]:
    async with described(get_session()).create_client(
        "s3", region_name="us-east-1", endpoint_url=server.endpoint
    ) as client:
        answer = await client.list_objects_v2(Bucket=bucket)
    return [item["Key"] for item in answer.get("Contents", [])]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
