"""How bytes come from S3: connections that break are taken up again, and whatever is read is of one version."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from shared.objects.base import CHUNK
from shared.objects.cloud.downloads import PART
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import DATA, read
from tests.contract.s3_process import KEY, ONE_BUCKET, S3_KEY
from tests.contract.s3_proxy import Pass, Proxy, break_off, gets
from tests.s3server import S3Server, new_name
from voxloom.errors import StoreUnavailable

pytestmark = pytest.mark.usefixtures("s3_keys")

SIZE = 2 * PART + 12_345


@pytest.fixture
async def store(s3_server: S3Server, s3_proxy: Proxy, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
    url = s3_server.url(ONE_BUCKET, endpoint=s3_proxy.url, name=f"{new_name()}all")
    store = S3ObjectStore(S3Place.from_url(url), tmp_path / "node")
    await store.open()
    yield store
    await store.close()


async def test_a_stream_that_breaks_off_goes_on_where_it_was(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(SIZE)
    await store.put(DATA, KEY, data)
    s3_proxy.play(break_off, gets(S3_KEY), times=3)
    assert await read(store, DATA, KEY) == data
    assert s3_proxy.count(gets(S3_KEY)) == 4


async def test_a_range_that_breaks_off_goes_on_where_it_was(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(SIZE)
    await store.put(DATA, KEY, data)
    s3_proxy.play(break_off, gets(S3_KEY), times=2)
    assert await read(store, DATA, KEY, 5, SIZE - 5) == data[5:-5]


async def test_a_download_that_breaks_off_goes_on(store: S3ObjectStore, s3_proxy: Proxy, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    await store.put(DATA, KEY, data)
    s3_proxy.play(break_off, gets(S3_KEY), times=4)
    await store.checkout(DATA, KEY, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data


async def test_a_stream_that_breaks_off_is_never_joined_with_another_version(
    store: S3ObjectStore, s3_proxy: Proxy
) -> None:
    await store.put(DATA, KEY, bytes(SIZE))

    async def replaced(request: web.Request, passed: Pass) -> web.StreamResponse:
        answer = await passed()
        await store.put(DATA, KEY, b"x" * SIZE)
        return await break_off(request, answer.again)

    s3_proxy.play(replaced, gets(S3_KEY))
    got: list[bytes] = []
    with pytest.raises(StoreUnavailable, match="read it again"):
        got += [piece async for piece in store.stream(DATA, KEY)]
    assert not any(b"x" in piece for piece in got)


@pytest.mark.parametrize("size", [CHUNK, SIZE])
async def test_a_download_of_what_is_replaced_meanwhile_is_of_the_new_version(
    store: S3ObjectStore, s3_proxy: Proxy, tmp_path: Path, size: int
) -> None:
    await store.put(DATA, KEY, bytes(size))

    async def replaced(_: web.Request, passed: Pass) -> web.StreamResponse:
        await store.put(DATA, KEY, b"x" * size)
        return (await passed()).response()

    s3_proxy.play(replaced, gets(S3_KEY))
    info = await store.checkout(DATA, KEY, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"x" * size
    assert info.etag == (await store.head(DATA, KEY)).etag
