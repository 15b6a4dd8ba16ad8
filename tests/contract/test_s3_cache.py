"""What a node keeps of the objects it has fetched: each once, whole, for all of its processes, and not too much."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.objects.base import CHUNK, Sender
from shared.objects.cloud.downloads import PART
from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.object_store_behaviour import DATA
from tests.contract.s3_process import KEY, ONE_BUCKET, S3_KEY
from tests.contract.s3_proxy import WITHIN, Hold, Proxy, gets, heads, held_until
from tests.s3server import S3Server, new_name

pytestmark = pytest.mark.usefixtures("s3_keys")

LARGE = 2 * PART + 12_345
PARTS_OF_LARGE = [f"bytes={start}-{min(start + PART, LARGE) - 1}" for start in range(0, LARGE, PART)]
MIB = 1 << 20
TASKS = 20


class Node:
    """A machine with processes that share a folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._stores: list[S3ObjectStore] = []
        self._processes: list[Process] = []

    async def store(self, cache_bytes: int = 1 << 30) -> S3ObjectStore:
        """One more, as another process would have it."""
        store = S3ObjectStore(S3Place.from_url(self.url), self.folder, cache_bytes=cache_bytes)
        await store.open()
        self._stores.append(store)
        return store

    async def process(self, tasks: int) -> Process:
        """One that is about to check the object out."""
        command = [sys.executable, "-m", "tests.contract.s3_process"]
        process = await asyncio.create_subprocess_exec(
            *command, "check-out", self.url, str(self.folder), str(tasks), stdin=PIPE, stdout=PIPE
        )
        self._processes.append(process)
        assert await line(process) == "ready"
        return process

    def cached(self) -> list[Path]:
        """Files in the cache, whole or not."""
        return cache_files(self.folder / "cache")

    def cached_bytes(self) -> int:
        return sum(map(size_of, self.cached()))

    def scratches(self) -> list[Path]:
        return [path for path in (self.folder / "scratch").iterdir() if path.is_dir()]

    async def close(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        for store in self._stores:
            await store.close()


@pytest.fixture
async def node(s3_proxy: Proxy, s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(s3_server.url(ONE_BUCKET, endpoint=s3_proxy.url, name=f"{new_name()}all"), tmp_path / "node")
    yield node
    await node.close()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), WITHIN)).decode().strip()


def begin(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def until(what: Callable[[], bool]) -> None:
    """Polls what is in the file system."""
    deadline = time.monotonic() + WITHIN
    while not what():
        assert time.monotonic() < deadline, "it has not come to pass"
        await asyncio.sleep(0.01)


# Each object once.


async def test_all_tasks_of_all_processes_fetch_an_object_once(node: Node, s3_proxy: Proxy) -> None:
    data = os.urandom(LARGE)
    await (await node.store()).put(DATA, KEY, data)
    processes = [await node.process(TASKS), await node.process(TASKS)]
    s3_proxy.play(held_until(s3_proxy, lambda: s3_proxy.count(heads(S3_KEY)) >= 2 * TASKS), gets(S3_KEY))
    for process in processes:
        begin(process)
    targets = [Path(await line(process)) for process in processes for _ in range(TASKS)]
    files = {target.stat().st_ino: target for target in targets}  # Links to one file need not be read twice.
    assert {file.read_bytes() for file in files.values()} == {data}
    assert sorted(asked.span for asked in s3_proxy.seen if gets(S3_KEY)(asked)) == sorted(PARTS_OF_LARGE)


async def test_all_targets_are_one_file(node: Node, tmp_path: Path) -> None:
    store = await node.store()
    await store.put(DATA, KEY, os.urandom(LARGE))
    await asyncio.gather(*(store.checkout(DATA, KEY, tmp_path / f"{number}") for number in range(5)))
    assert len({(tmp_path / f"{number}").stat().st_ino for number in range(5)}) == 1


async def test_another_version_is_another_object(node: Node, tmp_path: Path) -> None:
    store, other = await node.store(), await node.store()
    for data in (b"1" * MIB, b"2" * MIB):
        await store.put(DATA, KEY, data)
        await other.checkout(DATA, KEY, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data


# Whole.


async def test_what_a_killed_process_had_of_an_object_is_never_served(
    node: Node, s3_proxy: Proxy, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    await (await node.store()).put(DATA, KEY, data)
    s3_proxy.play(Hold(), lambda asked: gets(S3_KEY)(asked) and asked.span.startswith("bytes=0-"))
    process = await node.process(1)
    begin(process)
    # As long as the whole, with a hole in it.
    await until(lambda: list(map(size_of, node.cached())) == [LARGE])
    process.kill()
    await process.wait()
    await (await node.store()).checkout(DATA, KEY, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data


async def test_who_waits_for_a_process_that_is_killed_fetches_it_then(
    node: Node, s3_proxy: Proxy, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    store = await node.store()
    await store.put(DATA, KEY, data)
    first = Hold()
    s3_proxy.play(first, lambda asked: gets(S3_KEY)(asked) and asked.span.startswith("bytes=0-"))
    process = await node.process(1)
    begin(process)
    await asyncio.wait_for(first.begun.wait(), WITHIN)
    waiting = asyncio.create_task(store.checkout(DATA, KEY, tmp_path / "target"))
    await s3_proxy.until(lambda: s3_proxy.count(heads(S3_KEY)) == 2)
    process.kill()
    await asyncio.wait_for(waiting, WITHIN)
    assert (tmp_path / "target").read_bytes() == data
    assert len(node.cached()) == 1


async def test_what_nobody_fetches_any_more_goes_when_the_cache_is_opened(node: Node) -> None:
    await node.store()
    (boot,) = (node.folder / "cache").iterdir()
    (boot / "torn.part").write_bytes(b"half")
    (node.folder / "cache" / "earlier boot").mkdir()
    (node.folder / "cache" / "earlier boot" / "whole?").write_bytes(b"who knows")
    await node.store()
    assert [path.name for path in (node.folder / "cache").rglob("*")] == [boot.name, "in-use"]


# Not too much.


async def test_beyond_the_limit_what_was_used_last_stays(node: Node, s3_proxy: Proxy, tmp_path: Path) -> None:
    store = await node.store(cache_bytes=3 * MIB + 100)
    for key in ("a", "b", "c", "d"):
        await store.put(DATA, key, os.urandom(MIB))
    for key in ("a", "b", "c", "a", "d"):
        await store.checkout(DATA, key, tmp_path / key)
    await until(lambda: node.cached_bytes() <= 3 * MIB)
    asked = len(s3_proxy.seen)
    for key in ("a", "c", "d", "b"):
        await store.checkout(DATA, key, tmp_path / key)
    assert [one.key for one in s3_proxy.seen[asked:] if one.method == "GET"] == [f"{DATA}/b"]


async def test_a_smaller_limit_holds_from_the_next_opening_on(node: Node, tmp_path: Path) -> None:
    store = await node.store()
    for key in ("a", "b", "c"):
        await store.put(DATA, key, os.urandom(MIB))
        await store.checkout(DATA, key, tmp_path / key)
    await node.store(cache_bytes=MIB)
    assert node.cached_bytes() == MIB


async def test_a_file_goes_from_under_no_reader(node: Node, tmp_path: Path) -> None:
    data = os.urandom(LARGE)
    store, other = await node.store(), await node.store(cache_bytes=0)
    await store.put(DATA, KEY, data)
    await store.checkout(DATA, KEY, tmp_path / "target")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        sender = await store.open_sender(DATA, KEY, ours.fileno())
        ours.close()
        assert sender is not None
        await make_room(other, node, tmp_path)
        got = await received(sender, theirs)
        sender.close()
    assert (got == data, (tmp_path / "target").read_bytes() == data) == (True, True)


async def test_a_cache_without_room_still_gives_everything(node: Node, tmp_path: Path) -> None:
    """Every file is evicted as soon as it is there, by somebody or other."""
    stores = [await node.store(cache_bytes=0) for _ in range(3)]
    objects = {f"{number}": os.urandom(100_000) for number in range(8)}
    for key, data in objects.items():
        await stores[0].put(DATA, key, data)
    targets = {(key, n): tmp_path / f"{key}-{n}" for key in objects for n in range(9)}
    await asyncio.gather(*(stores[n % 3].checkout(DATA, key, path) for (key, n), path in targets.items()))
    assert {(key, path.read_bytes()) for (key, _), path in targets.items()} == set(objects.items())


# The scratch folder, of which every process has its own.


async def test_what_a_killed_process_had_on_its_way_goes_with_the_next_opening(node: Node) -> None:
    process = await node.process(1)
    (theirs,) = node.scratches()
    (theirs / "half").write_bytes(b"half")
    process.kill()
    await process.wait()
    store = await node.store()
    assert node.scratches() == [store.scratch]


async def test_what_others_have_on_their_way_stays(node: Node) -> None:
    store = await node.store()
    (store.scratch / "file").write_bytes(b"mine")
    other = await node.store()
    assert (list(other.scratch.iterdir()), (store.scratch / "file").read_bytes()) == ([], b"mine")


# Tools.


def cache_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.name != "in-use"]


def size_of(path: Path) -> int:
    """It may be evicted this very moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def make_room(store: S3ObjectStore, node: Node, folder: Path) -> None:
    """Another process fetches something, and evicts all there is."""
    await store.put(DATA, "another", os.urandom(MIB))
    await store.checkout(DATA, "another", folder / "another")
    await until(lambda: node.cached() == [])


async def received(sender: Sender, peer: socket.socket) -> bytes:
    peer.setblocking(False)
    got, size = b"", sender.info.size
    while len(got) < size:
        assert await sender.send(len(got), size)
        with contextlib.suppress(BlockingIOError):
            while piece := peer.recv(CHUNK):
                got += piece
    return got
