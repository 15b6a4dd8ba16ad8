"""Samples in memory, found by the files that they refer to."""

from __future__ import annotations

import asyncio

import pytest

from shared.holding import HELD, HELD_BY_SAMPLES, KnownLists, held_by_runs
from shared.samples import KnownSamples, remove, save
from tests.unit.memory_platform import MemoryStore
from voxloom.ids import new_id
from voxloom.models import SampleRecord


def sample(*files: str, created: str = "2026-01-01") -> SampleRecord:
    return SampleRecord(sample_id=new_id(), files=[{"image": list(files)}], tags=[], time_created=created)


async def test_samples_are_found_by_their_files_as_they_come_and_go() -> None:
    store = MemoryStore()
    known, one, two = KnownSamples(store), sample("a", "b", created="2026-01-02"), sample("b", created="2026-01-01")
    found = [await known.using("b")]
    for record in (one, two):
        await save(store, record)
        found.append(await known.using("b"))
    await remove(store, one.sample_id)
    found.append(await known.using("b"))
    assert found == [[], [one.sample_id], [two.sample_id, one.sample_id], [two.sample_id]]
    assert (await known.used_among(["a", "b", "c"]), await known.all()) == ({"b"}, [two])


async def test_the_store_is_listed_once_for_all_who_ask_at_the_same_time() -> None:
    store, lists = MemoryStore(), list[str]()
    known = KnownSamples(store)
    await save(store, one := sample("a"))
    store.before = lambda what, key: lists.append(key) if what == "list" else None
    found = await asyncio.gather(*(known.using("a") for _ in range(50)))
    assert (found, lists) == ([[one.sample_id]] * 50, ["samples/"])


async def test_lists_of_samples_are_not_read_for_those_of_runs() -> None:
    # Given lists of runs on both sides of those of samples
    store, read = MemoryStore(), list[str]()
    before, behind = f"{HELD}{new_id()}", f"{HELD}zz"
    for key in (before, behind, f"{HELD_BY_SAMPLES}{new_id()}", f"{HELD_BY_SAMPLES}~"):
        await store.put("data-store", key, b'["a", "b"]')
    store.before = lambda what, key: read.append(key) if what == "get" else None
    assert await held_by_runs(store, ["a", "c"]) == {"a"}
    assert sorted(read) == sorted([before, behind])
    assert await held_by_runs(store, []) == set()


@pytest.mark.parametrize(("most", "again"), [(100, 0), (1, 2), (0, 3)])
async def test_a_list_that_is_the_same_is_read_once_as_far_as_there_is_room(most: int, again: int) -> None:
    store, known, read = MemoryStore(), KnownLists(most), list[str]()
    for run in ("r", "s", "t"):
        await store.put("data-store", f"{HELD}{run}", b'["%s"]' % run.encode())
    there = {"r": "1", "s": "1", "t": "1"}
    first = [ids async for ids in known.of(store, there)]
    store.before = lambda what, key: read.append(key) if what == "get" else None
    second = [ids async for ids in known.of(store, there)]
    assert (sorted(map(sorted, first)), sorted(map(sorted, second))) == ([["r"], ["s"], ["t"]],) * 2
    assert len(read) == again


async def test_a_list_that_has_grown_is_read_again_and_one_that_is_gone_counts_no_more() -> None:
    store, found = MemoryStore(), list[set[str]]()
    for data in (b'["a"]', b'["a", "b"]'):
        await store.put("data-store", f"{HELD}r", data)
        found.append(await held_by_runs(store, ["a", "b"]))
    await store.delete("data-store", f"{HELD}r")
    found.append(await held_by_runs(store, ["a", "b"]))
    assert found == [{"a"}, {"a", "b"}, set()]
