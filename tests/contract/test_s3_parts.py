"""How bytes get to S3: in parts at once, with little memory, nothing left behind, and one's own writes known again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from shared.objects.base import ABSENT, CHUNK, FileUpload
from shared.objects.cloud.parts import LARGEST_STREAM, MIB, MOST_PARTS, PART, Blocks, size_for, size_of
from shared.objects.s3 import S3ObjectStore
from tests.contract.object_store_behaviour import DATA, pieces
from tests.contract.s3_lossy import HOW_LOST
from tests.contract.s3_lossy import name as name
from tests.contract.s3_lossy import others as others
from tests.contract.s3_lossy import store as store
from tests.contract.s3_process import KEY, ONE_BUCKET, S3_KEY
from tests.contract.s3_proxy import (
    WITHIN,
    Proxy,
    Trick,
    held_until,
    parts,
    refuses,
)
from tests.s3server import S3Server
from tests.s3sessions import described
from voxloom.errors import Conflict, Misconfigured, TooLarge

pytestmark = pytest.mark.usefixtures("s3_keys")

SIZE = 144 * MIB
LITTLE = 104 * MIB
"""Bytes that a process may grow by, whatever the size of the objects that it moves."""
CHILD_SECS = 180.0


@pytest.fixture
async def client(s3_server: S3Server) -> AsyncIterator[Any]:
    async with described(get_session()).create_client(
        "s3", region_name="us-east-1", endpoint_url=s3_server.endpoint
    ) as client:
        yield client


# In parts.


async def test_parts_go_several_at_once(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(4 * PART + 1)
    s3_proxy.play(held_until(s3_proxy, lambda: s3_proxy.count(parts) >= 4), parts, times=4)
    await store.put_stream(DATA, KEY, pieces(data, CHUNK))
    assert await store.get(DATA, KEY) == data
    assert s3_proxy.count(parts) == 5


async def test_files_go_in_parts_too(store: S3ObjectStore, s3_proxy: Proxy) -> None:
    data = os.urandom(2 * PART + 1)
    (store.scratch / "file").write_bytes(data)
    await store.put_files(DATA, [FileUpload(KEY, store.scratch / "file")])
    assert await store.get(DATA, KEY) == data
    assert s3_proxy.count(parts) == 3


@HOW_LOST
async def test_a_part_whose_answer_was_lost_is_sent_again(store: S3ObjectStore, s3_proxy: Proxy, how: Trick) -> None:
    data = os.urandom(PART + 1)
    s3_proxy.play(how, parts)
    await store.put_stream(DATA, KEY, pieces(data, CHUNK))
    assert await store.get(DATA, KEY) == data
    assert s3_proxy.count(parts) == 3


@pytest.mark.parametrize(("number", "size"), [(1, 8), (1000, 8), (1001, 32), (2000, 32), (2001, 128), (10_000, 128)])
def test_later_parts_of_a_stream_are_larger(number: int, size: int) -> None:
    assert size_of(number) == size * MIB


@pytest.mark.parametrize("total", [1, PART, PART * MOST_PARTS, PART * MOST_PARTS + 1, LARGEST_STREAM, 5 << 40])
def test_a_file_has_no_more_parts_than_there_may_be(total: int) -> None:
    assert total / size_for(total) <= MOST_PARTS
    assert size_for(total) % PART == 0


@pytest.mark.parametrize(
    ("size", "piece", "blocks"),
    [
        (0, 1, [0]),
        (1, 1, [1]),
        (PART, CHUNK, [PART]),
        (2 * PART, CHUNK, [PART, PART]),
        (2 * PART + 1, 3 * PART, [PART, PART, 1]),
        (PART + 5, PART - 1, [PART, 5]),
    ],
)
async def test_pieces_are_joined_and_split_into_parts(size: int, piece: int, blocks: list[int]) -> None:
    data = os.urandom(size)
    found = [block.getvalue() async for block in Blocks(None).of(pieces(data, piece))]
    assert ([len(block) for block in found], b"".join(found)) == (blocks, data)


# With little memory.


async def test_large_objects_go_both_ways_with_little_memory(
    others: S3ObjectStore, s3_server: S3Server, name: str, tmp_path: Path
) -> None:
    url = s3_server.url(ONE_BUCKET, name=name)
    grown = [await growth(what, url, tmp_path) for what in ("stream-in", "move-in", "fetch")]
    await others.delete(DATA, KEY)
    assert max(grown) < LITTLE


async def growth(what: str, url: str, folder: Path) -> int:
    """Bytes that a process of its own grows by at most."""
    command = [sys.executable, "-m", "tests.contract.s3_process", what, url, str(folder), str(SIZE)]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=CHILD_SECS)
    return int(done.stdout)


# Nothing left behind.


async def test_a_body_that_breaks_off_leaves_no_part_and_no_object(
    store: S3ObjectStore, s3_proxy: Proxy, client: Any, name: str
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        async for piece in stored_in_part(s3_proxy):
            yield piece
        raise ConnectionResetError("the sender went away")

    with pytest.raises(ConnectionResetError):
        await store.put_stream(DATA, KEY, broken())
    assert await left_behind(client, name) == []


async def test_a_body_that_is_too_large_leaves_no_part_and_no_object(
    store: S3ObjectStore, s3_proxy: Proxy, client: Any, name: str
) -> None:
    with pytest.raises(TooLarge):
        await store.put_stream(DATA, KEY, stored_in_part(s3_proxy), limit=3 * PART - 1)
    assert await left_behind(client, name) == []


async def test_an_upload_that_is_cancelled_leaves_no_part_and_no_object(
    store: S3ObjectStore, s3_proxy: Proxy, client: Any, name: str
) -> None:
    s3_proxy.play(held_until(s3_proxy, lambda: False), parts, times=4)
    upload = asyncio.create_task(store.put_stream(DATA, KEY, pieces(os.urandom(3 * PART))))
    await s3_proxy.until(lambda: s3_proxy.count(parts) >= 2)
    upload.cancel()
    await asyncio.wait([upload], timeout=WITHIN)
    assert upload.cancelled()
    assert await left_behind(client, name) == []


async def test_a_part_that_is_refused_leaves_no_part_and_no_object(
    store: S3ObjectStore, s3_proxy: Proxy, client: Any, name: str
) -> None:
    s3_proxy.play(refuses(403, "AccessDenied"), lambda asked: parts(asked) and "partNumber=3" in asked.query)
    with pytest.raises(Misconfigured):
        await store.put_stream(DATA, KEY, pieces(os.urandom(4 * PART)))
    assert await left_behind(client, name) == []


async def test_a_refused_upload_leaves_no_part(
    store: S3ObjectStore, others: S3ObjectStore, s3_proxy: Proxy, client: Any, name: str
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        async for piece in stored_in_part(s3_proxy):
            yield piece
        await others.put(DATA, KEY, b"theirs")

    with pytest.raises(Conflict):
        await store.put_stream(DATA, KEY, overtaken(), condition=ABSENT)
    assert await left_behind(client, name) == [S3_KEY]
    assert await others.get(DATA, KEY) == b"theirs"


async def stored_in_part(s3_proxy: Proxy) -> AsyncIterator[bytes]:
    """Three parts' bytes, of which one is stored before the last come."""
    async for piece in pieces(os.urandom(3 * PART - 1)):
        yield piece
    await s3_proxy.until(lambda: s3_proxy.done(parts) > 0)
    yield b"x"


async def left_behind(client: Any, name: str) -> list[str]:
    uploads = (await client.list_multipart_uploads(Bucket=name)).get("Uploads", [])
    objects = (await client.list_objects_v2(Bucket=name)).get("Contents", [])
    return [item["Key"] for item in [*uploads, *objects]]
