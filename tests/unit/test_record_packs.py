"""Records of ended runs, many to an object: what is written is found, the newest of it, whatever was merged since."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.records import packs as packs_module
from shared.records.fold import RunState, fold
from shared.records.packs import (
    FULL,
    LARGEST_STATE,
    MOST_SMALL,
    Pack,
    Packs,
    index_of,
    new_key,
    pack_of,
    packed,
    time_of,
    to_merge,
)
from shared.records.store import COLLECTION, RecordStore
from tests.named import A, B, C, D
from tests.unit.memory_platform import WORK, MemoryStore, stored_runs, whole
from voxloom.errors import Damaged
from voxloom.ids import new_id

IDS = st.uuids().map(str)
RECORDS = st.dictionaries(IDS, st.binary(min_size=1, max_size=50), min_size=1, max_size=20)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def packs(store: MemoryStore) -> Packs:
    return Packs(store, "c")


def ended(run: str) -> RunState:
    state = None
    for event in whole(run):
        state = fold(state, event)
    assert state is not None
    return state


@given(RECORDS)
def test_a_name_says_which_runs_a_pack_may_have(records: dict[str, bytes]) -> None:
    pack = pack_of(new_key(records, "0f"), 7)

    assert all(map(pack.may_have, records))
    assert (pack.runs, pack.stamp, pack.size) == (len(records), "0f", 7)


@given(RECORDS)
def test_an_index_leads_to_every_record(records: dict[str, bytes]) -> None:
    data = packed(records)
    places = index_of(data)

    assert not isinstance(places, int)
    assert {run: data[start:stop] for run, (start, stop) in places.items()} == records


@given(RECORDS)
def test_of_half_an_index_it_is_known_how_long_it_is(records: dict[str, bytes]) -> None:
    data = packed(records)
    needed = index_of(data[:5])

    assert isinstance(needed, int)
    assert index_of(data[:needed]) == index_of(data)


async def test_a_record_is_found_and_another_is_not(packs: Packs) -> None:
    await packs.save({A: b"a", B: b"b"})

    assert [await packs.load(run) for run in (A, B, C)] == [b"a", b"b", None]


async def test_an_index_longer_than_one_look_is_read(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "_FIRST_READ", 10)
    await packs.save({A: b"a", B: b"b"})

    assert await packs.load(B) == b"b"


async def test_the_newest_of_two_records_counts_also_once_they_are_merged(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    await packs.save({A: b"old", B: b"b"})
    await packs.save({A: b"new"})
    assert await Packs(store, "c").load(A) == b"new"

    assert await packs.merge()

    assert (len(store.keys("packs/")), await packs.load(A), await packs.load(B)) == (1, b"new", b"b")


async def test_who_has_seen_packs_that_were_merged_since_finds_all(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who has read one record, and knows where another lies
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    reader = Packs(store, "c")
    await packs.save({A: b"a", B: b"b"})
    await packs.save({C: b"c"})
    assert await reader.load(A) == b"a"
    # When the packs are merged, then it is found where it lies now
    await packs.merge()
    assert [await reader.load(run) for run in (B, C)] == [b"b", b"c"]


async def test_packs_with_the_same_runs_become_one(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    await packs.save({A: b"old"})
    await packs.save({A: b"new"})

    await packs.merge()

    assert (len(store.keys("packs/")), await packs.load(A)) == (1, b"new")


async def test_a_name_that_is_gone_never_stands_for_other_records(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who has read of a pack where its records lie, and an older pack of a run from the same time
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    reader = Packs(store, "c")
    first, other, gone, last = sorted((A, B, C, D), key=time_of)
    await packs.save({other: b"a long one"})
    await packs.save({first: b"f", gone: b"g", last: b"l"})
    assert await reader.load(last) == b"l"
    # When one of them is deleted, and the older one comes among them
    await packs.delete([gone])
    await packs.merge()
    # Then everybody reads what is there
    found = [await reader.load(run) for run in (first, other, gone, last)]
    assert found == [b"f", b"a long one", None, b"l"]


async def test_who_asks_which_runs_have_a_record_while_packs_are_merged_is_told(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given packs that are merged as soon as they have been listed
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    await packs.save({A: b"a"})
    await packs.save({B: b"b"})
    reader, listed, merged = Packs(store, "c"), Packs._listed, list[bool]()

    async def late(self: Packs) -> list[Pack]:
        found = await listed(self)
        if self is reader and not merged:
            merged.append(await packs.merge())
        return found

    monkeypatch.setattr(Packs, "_listed", late)
    # When somebody asks, then it is as if nothing had happened
    assert (await reader.have({A, B, C}), merged) == ({A, B}, [True])


@pytest.mark.parametrize("what", ["merge", "delete"])
async def test_a_pack_that_expires_meanwhile_stops_nobody(
    store: MemoryStore, packs: Packs, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(packs_module, "MOST_SMALL", 2)
    await packs.save({A: b"a"})
    await packs.save({B: b"b"})
    expiring, _ = store.keys("packs/")
    listed = Packs._listed

    async def late(self: Packs) -> list[Pack]:
        found = await listed(self)
        store.objects.pop(("c", expiring), None)
        return found

    monkeypatch.setattr(Packs, "_listed", late)
    await (packs.merge() if what == "merge" else packs.delete([A, B, C]))
    assert expiring not in store.keys("packs/")


async def test_few_packs_are_not_merged_nor_listed_to_see_it(store: MemoryStore, packs: Packs) -> None:
    await packs.merge()
    looks: list[str] = []
    store.before = lambda what, _: looks.append(what)

    for run in (A, B, C):
        await packs.save({run: b"x"})
        await packs.merge()

    assert looks == ["put"] * 3


async def test_deleted_records_are_in_no_pack_any_more_and_the_others_are(store: MemoryStore, packs: Packs) -> None:
    await packs.save({A: b"a", B: b"b"})
    await packs.save({C: b"c"})

    await packs.delete([A, C])

    assert [await packs.load(run) for run in (A, B, C)] == [None, b"b", None]
    assert len(store.keys("packs/")) == 1


async def test_it_is_told_which_runs_have_a_record(packs: Packs) -> None:
    await packs.save({A: b"a", B: b"b"})

    assert await packs.have({A, C, new_id()}) == {A}


async def test_a_pack_that_is_cut_off_is_told_of(store: MemoryStore, packs: Packs) -> None:
    await packs.save({A: b"a"})
    (key,) = store.keys("packs/")
    store.objects["c", key] = store.objects["c", key][:20]

    with pytest.raises(Damaged, match=key):
        await packs.load(A)


def small(number: int, runs: int = 1, size: int = 1) -> Pack:
    return Pack(f"k{number}", size, 0, 1, f"{number:04d}", runs)


@pytest.mark.parametrize(
    ("packs", "chosen"),
    [
        ([small(one) for one in range(MOST_SMALL - 1)], 0),
        ([small(one) for one in range(MOST_SMALL)], MOST_SMALL),
        ([small(one, runs=FULL) for one in range(MOST_SMALL)], 0),
        ([small(one, runs=FULL // 2) for one in range(MOST_SMALL)], 2),
        ([small(one, size=packs_module.MOST_BYTES) for one in range(MOST_SMALL)], 0),
        ([small(one, size=packs_module.MOST_BYTES // 3 + 1) for one in range(MOST_SMALL)], 3),
    ],
)
def test_many_small_packs_are_merged_the_oldest_first(packs: list[Pack], chosen: int) -> None:
    assert to_merge(reversed(packs)) == packs[:chosen]


async def test_a_record_lies_alone_where_it_is_large_or_of_another_task(store: MemoryStore) -> None:
    # Given an execution with a long log, and a training
    states = [ended(run) for run in (A, B, C)]
    assert states[0].stage is not None
    assert states[0].stage.result is not None
    result = states[0].stage.result.model_copy(update={"log": "x" * LARGEST_STATE})
    large = states[0].model_copy(update={"stage": states[0].stage.model_copy(update={"result": result})})
    training = states[1].model_copy(update={"work": WORK.model_copy(update={"task": "training"})})
    # When they are stored with another one
    records = RecordStore(store)
    await records.save_runs([large, training, states[2]])
    # Then they have objects of their own, and all are found
    assert store.keys("runs/") == sorted([f"runs/{A}", f"runs/{B}"])
    assert [await records.load_run(run) for run in (A, B, C)] == [large, training, states[2]]
    assert await records.load_run(B, "training") == training
    assert set(stored_runs(store)) == {A, B, C}


async def test_a_record_that_an_earlier_version_has_stored_is_found_and_deleted(store: MemoryStore) -> None:
    state = ended(A)
    await store.put(COLLECTION, f"runs/{A}", state.model_dump_json().encode())
    records = RecordStore(store)
    assert await records.load_run(A) == state

    await records.delete_runs([A])

    assert (await records.load_run(A), store.objects) == (None, {})


def test_ids_of_another_version_have_their_place_too() -> None:
    runs = [str(uuid.uuid4()) for _ in range(5)]

    assert all(map(pack_of(new_key(runs, "0"), 0).may_have, runs))
