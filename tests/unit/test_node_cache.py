"""The files that processes of a node share: fetched once, used before they can be evicted, safe from late work."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event

import pytest

from shared.objects.cloud.cache import Fetch, NodeCache, Part, Write
from shared.objects.disk.threads import Pool
from voxloom.errors import StoreFull, StoreUnavailable

MIB = 1 << 20
WITHIN = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool("tests.move", 8)
    yield pool
    await pool.close()


async def test_who_has_missed_that_it_was_just_fetched_does_not_fetch_it_again(pool: Pool, folder: Path) -> None:
    fetched: list[str] = []

    def fetch_as(name: str) -> Fetch:
        async def fetch(write: Write) -> None:
            fetched.append(name)
            write(b"bytes", 0)

        return fetch

    first = opened(NodeCache(folder, MIB, pool))
    late = opened(NodeCache(folder, MIB, pool))
    really_claim = late._claim

    async def fetch_first() -> None:
        await first.obtain("name", fetch_as("first"), nothing)

    loop = asyncio.get_running_loop()

    def claim_late(name: str) -> Part | None:
        """It was not there when it was looked for, and is before it is claimed."""
        asyncio.run_coroutine_threadsafe(fetch_first(), loop).result(WITHIN)
        return really_claim(name)

    setattr(late, "_claim", claim_late)  # noqa: B010
    await late.obtain("name", fetch_as("late"), nothing)
    assert fetched == ["first"]


async def test_a_fetch_that_fails_leaves_nothing(pool: Pool, folder: Path) -> None:
    cache = opened(NodeCache(folder, MIB, pool))

    async def fetch(write: Write) -> None:
        write(b"half", 0)
        raise StoreUnavailable("The object store does not answer.")

    with pytest.raises(StoreUnavailable):
        await cache.obtain("name", fetch, nothing)
    await pool.close()
    assert names(folder) == []


def test_a_part_that_was_given_up_touches_no_other_file(tmp_path: Path) -> None:
    """The number of its descriptor is the next file's."""
    number = os.open(tmp_path / "name.part", os.O_RDWR | os.O_CREAT)
    part = Part(tmp_path / "name.part", number)
    part.give_up()
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() == number
        part.write(b"late", 0)
        part.keep(nothing)
        part.give_up()
        other.write(b"mine")
    assert (tmp_path / "other").read_bytes() == b"mine"


async def test_who_is_cancelled_while_a_file_is_kept_does_no_harm(
    pool: Pool, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    using, go = Event(), Event()

    def use(_: Path) -> None:
        using.set()
        assert go.wait(WITHIN)

    cache = opened(NodeCache(folder, MIB, pool))
    obtaining = asyncio.create_task(cache.obtain("name", gives(b"bytes"), use))
    await asyncio.to_thread(using.wait, WITHIN)
    obtaining.cancel()
    await asyncio.wait([obtaining], timeout=WITHIN)
    go.set()
    await pool.close()
    assert ([path.read_bytes() for path in cache_files(folder)], caplog.messages) == ([b"bytes"], [])


async def test_nobody_evicts_a_file_before_it_is_used(pool: Pool, folder: Path) -> None:
    cache = opened(NodeCache(folder, 0, pool))
    other = opened(NodeCache(folder, 0, pool))
    used: list[bytes] = []

    def use(path: Path) -> None:
        other.trim()
        used.append(path.read_bytes())

    await cache.obtain("name", gives(b"bytes"), use)
    assert used == [b"bytes"]


async def test_what_is_too_much_is_counted_while_others_come_and_go(pool: Pool, folder: Path) -> None:
    cache = opened(NodeCache(folder, MIB, pool))
    other = opened(NodeCache(folder, 0, pool))
    coming_and_going = asyncio.create_task(asyncio.to_thread(come_and_go, other, 300))
    while not coming_and_going.done():
        await pool.run(cache.trim)
    await coming_and_going
    assert names(folder) == []


async def test_what_a_full_disk_lacks_comes_from_the_cache(
    pool: Pool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a cache that keeps to its limit, on a disk with ten bytes free
    cache = opened(NodeCache(folder, MIB, pool))
    for number in range(3):
        await cache.obtain(f"{number}", gives(b"bytes"), nothing)
    monkeypatch.setattr("shared.objects.cloud.cache._free_of", lambda _: 10)
    # When more is wanted, then so much goes, what was used longest ago first
    cache.trim(free=17)
    assert names(folder) == ["2"]


async def test_a_full_disk_of_this_machine_is_told_from_a_full_store() -> None:
    pool = Pool("tests.move", 1, who="The disk of this machine")
    try:
        with pytest.raises(StoreFull, match="The disk of this machine has no room left"):
            await pool.run(fail, OSError(errno.ENOSPC, "No space left on device"))
    finally:
        await pool.close()


def fail(error: Exception) -> None:
    raise error


def opened(cache: NodeCache) -> NodeCache:
    cache.open()
    return cache


def nothing(_: Path) -> None:
    pass


def gives(data: bytes) -> Fetch:
    async def fetch(write: Write) -> None:
        write(data, 0)

    return fetch


def names(folder: Path) -> list[str]:
    return [path.name for path in cache_files(folder)]


def come_and_go(cache: NodeCache, times: int) -> None:
    for number in range(times):
        while (part := cache._claim(f"{number}")) is None:
            pass
        part.keep(nothing)
        for path in cache_files(cache._root):
            path.unlink(missing_ok=True)


def cache_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.name != "in-use"]
