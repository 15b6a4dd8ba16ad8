"""What projects have stored: counted when somebody asks, and followed from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from messages.files import FileCommitted, FileDeleted
from messages.runs import Result, RunCompleted
from services.gateway.views.stored_bytes import LISTED_SECS, StoredBytes
from shared.files import COLLECTION, bytes_key
from shared.objects.base import ObjectInfo
from tests.unit.memory_platform import MemoryStore
from voxloom.errors import StoreUnavailable, Unavailable
from voxloom.ids import new_id


class Store(MemoryStore):
    """With whose a file is."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[str, str] = {}

    async def add(self, size: int, project: str) -> str:
        file_id = new_id()
        self.owners[bytes_key(file_id)] = project
        await self.put(COLLECTION, bytes_key(file_id), bytes(size))
        return file_id

    async def head(self, collection: str, key: str) -> ObjectInfo:
        info = await super().head(collection, key)
        return ObjectInfo(info.key, info.size, info.etag, info.modified, metadata={"project": self.owners[key]})


class Counted:
    def __init__(self) -> None:
        self.store = Store()
        self.time = 0.0
        self.asked: list[str] = []
        self.store.before = lambda what, key: self.asked.append(f"{what} {key}")
        self.stored = StoredBytes(self.store, clock=lambda: self.time)

    async def of(self, project: str = "lab1") -> int:
        return await self.stored.of(project, within=60)

    async def until(self, expected: int) -> None:
        async with asyncio.timeout(60):
            while await self.of() != expected:
                await asyncio.sleep(0)


@asynccontextmanager
async def counting(counted: Counted) -> AsyncIterator[None]:
    task = asyncio.create_task(counted.stored.keep_counting())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    counted = Counted()
    async with counting(counted):
        yield counted


def committed(file_id: str, size: int, project: str = "lab1") -> FileCommitted:
    return FileCommitted(subject=file_id, project=project, size=size, etag="e", datasets=[])


async def test_nothing_is_read_before_somebody_asks(counted: Counted) -> None:
    counted.stored.hear(committed(new_id(), 5))
    await asyncio.sleep(0)
    assert counted.asked == []


async def test_what_is_there_is_counted_by_project(counted: Counted) -> None:
    for size, project in ((5, "lab1"), (7, "lab1"), (11, "lab2")):
        await counted.store.add(size, project)
    assert (await counted.of("lab1"), await counted.of("lab2"), await counted.of("lab3")) == (12, 11, 0)


HAPPENS: dict[str, tuple[Callable[[str], Any], int]] = {
    "a file comes": (lambda _: committed(new_id(), 3), 8),
    "one of another project comes": (lambda _: committed(new_id(), 3, "lab2"), 5),
    "the same is told again": (lambda known: committed(known, 5), 5),
    "it goes": (lambda known: FileDeleted(subject=known, project="lab1"), 0),
    "another goes": (lambda _: FileDeleted(subject=new_id(), project="lab1"), 5),
}


@pytest.mark.parametrize(("event", "expected"), HAPPENS.values(), ids=HAPPENS)
async def test_what_happens_afterwards_is_heard_of(
    counted: Counted, event: Callable[[str], Any], expected: int
) -> None:
    known = await counted.store.add(5, "lab1")
    assert await counted.of() == 5
    counted.stored.hear(event(known))
    assert await counted.of() == expected


async def test_what_a_run_has_made_is_looked_up(counted: Counted) -> None:
    assert await counted.of() == 0
    made = await counted.store.add(9, "lab1")
    result = Result(outputs=[made, "a text, which names nothing"])
    counted.stored.hear(RunCompleted(subject=new_id(), project="lab1", epoch=1, result=result))
    await counted.until(9)


async def test_what_expires_is_found_when_the_store_is_listed_anew(counted: Counted) -> None:
    gone, stays = [await counted.store.add(size, "lab1") for size in (5, 7)]
    assert await counted.of() == 12
    await counted.store.delete(COLLECTION, bytes_key(gone))
    counted.time += LISTED_SECS
    counted.stored.hear(RunCompleted(subject=new_id(), project="lab1", epoch=1, result=Result()))
    await counted.until(7)
    assert counted.asked.count(f"get {bytes_key(stays)}") == 1


async def test_what_is_heard_while_the_store_is_listed_counts(counted: Counted) -> None:
    # Given a file that is deleted, and one that comes, just while the store tells what there is
    old, new = await counted.store.add(5, "lab1"), new_id()

    def meanwhile(_what: str, _key: str) -> None:
        counted.store.after = counted.store.before = lambda _what, _key: None
        counted.stored.hear(FileDeleted(subject=old, project="lab1"))
        counted.stored.hear(committed(new, 3))

    counted.store.before = meanwhile
    # Then what was heard of is what there is
    assert await counted.of() == 3


async def test_who_cannot_be_told_in_time_is_told_to_come_back() -> None:
    # Given a store that does not answer, and nobody who counts yet
    counted = Counted()

    def away(_what: str, _key: str) -> None:
        raise StoreUnavailable("The store is away.")

    counted.store.before = away
    async with counting(counted):
        with pytest.raises(Unavailable) as late:
            await counted.stored.of("lab1", within=0.01)
    assert (late.value.code, late.value.retryable) == ("answer_timeout", True)
