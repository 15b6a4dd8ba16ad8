"""What every object store does. An adapter's tests subclass ObjectStoreBehaviour and give it a `footing` fixture."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from shared.objects.base import (
    ABSENT,
    CHUNK,
    EXPIRING,
    Condition,
    FileUpload,
    ObjectInfo,
    ObjectStore,
    Upload,
    list_all,
)
from voxloom.digests import digest_of
from voxloom.errors import Conflict, Damaged, InvalidInput, NotFound, TooLarge

DATA = "data-store"
RECORDS = "execution-store"
SIZES = pytest.mark.parametrize("size", [0, 1, 1000, 70_000, CHUNK, 3 * CHUNK + 17])
ODD_KEYS = [
    "a/b/c",
    "with space and+plus",
    "per%2Fcent%25",
    "question?and#hash&amp=1",
    "mikroskopie-žluťoučký-顕微鏡-🔬",
    "line\nbreak",
    "'quoted\"; DROP TABLE objects;--",
    "/".join(["x" * 99] * 9),
]
NO_PATHS = ["../../etc/passwd", "..", "/rooted", "a//b", "x" * 900]
"""What servers do not take that keep objects in folders and files of these names."""
NO_XML = ["\x01", "\uffff", "tab\tand\rreturn"]
"""What XML cannot say, or not as it is."""


class Footing(ABC):
    """An adapter under test, and where its data is."""

    store: ObjectStore

    @abstractmethod
    async def reopen(self) -> ObjectStore:
        """Closes the store and opens a new one on the same data."""

    @abstractmethod
    async def damage(self, collection: str, key: str) -> None:
        """Flips a bit of an object where it lies, behind the store's back."""


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        await asyncio.sleep(0)


async def failing_after(data: bytes) -> AsyncIterator[bytes]:
    async for piece in pieces(data):
        yield piece
    raise ConnectionResetError("the sender went away")


async def read(store: ObjectStore, collection: str, key: str, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.stream(collection, key, start=start, stop=stop)])


async def keys(store: ObjectStore, collection: str, prefix: str = "") -> list[str]:
    return [item.key async for item in list_all(store, collection, prefix)]


async def head_many(store: ObjectStore, collection: str, keys: list[str], *, own: bool) -> dict[str, ObjectInfo]:
    return await (store.head_many(collection, keys) if own else ObjectStore.head_many(store, collection, keys))


async def checkout_many(
    store: ObjectStore, collection: str, targets: dict[str, Path], *, own: bool
) -> dict[str, ObjectInfo]:
    return await (
        store.checkout_many(collection, targets) if own else ObjectStore.checkout_many(store, collection, targets)
    )


async def kept_under(store: ObjectStore, key: str) -> tuple[bytes, list[str]]:
    """What comes back of an object with this key, and what is listed then."""
    await store.put(RECORDS, key, b"here")
    return await store.get(RECORDS, key), await keys(store, RECORDS)


async def gets_by_url(store: ObjectStore, key: str) -> bool:
    data = os.urandom(100_000)
    await store.put(DATA, key, data)
    async with httpx.AsyncClient() as client:
        response = await client.get(await store.presign("GET", DATA, key, expires=60))
    return (response.status_code, response.content) == (200, data)


async def puts_by_url(store: ObjectStore, key: str) -> bool:
    data = os.urandom(100_000)
    async with httpx.AsyncClient() as client:
        response = await client.put(await store.presign("PUT", DATA, key, expires=60), content=data)
    return response.status_code == 200 and await store.get(DATA, key) == data


class _Behaviour:
    collections: ClassVar[tuple[str, ...]] = (DATA, RECORDS)
    """Those that the adapter keeps in different ways: `collection` is each of them."""
    ways: ClassVar[dict[str, bool]] = {"the adapter's own way": True, "one by one": False}
    """Adapters may do many at once in their own way, or as the port does: `own` is either."""
    crowd: ClassVar[int] = 1100
    """As many as make a difference to the adapter where it is asked for each of them."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "collection" in metafunc.fixturenames:
            metafunc.parametrize("collection", self.collections)
        if "own" in metafunc.fixturenames:
            metafunc.parametrize("own", self.ways.values(), ids=self.ways.keys())

    @pytest.fixture
    def store(self, footing: Footing) -> ObjectStore:
        return footing.store


class KeyBehaviour(_Behaviour):
    """What keys and collections may be called, and what lists and URLs make of their names."""

    @pytest.mark.parametrize("key", ODD_KEYS)
    async def test_any_text_is_a_key(self, store: ObjectStore, key: str) -> None:
        assert await kept_under(store, key) == (b"here", [key])

    @pytest.mark.parametrize("key", ["", "nul\0", "x" * 901, "é" * 451, "lone \ud800 surrogate"])
    async def test_keys_that_cannot_be_are_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidInput):
            await store.put(RECORDS, key, b"")

    async def test_collections_that_do_not_exist_are_refused(self, store: ObjectStore) -> None:
        with pytest.raises(InvalidInput, match="collection"):
            await store.put("secrets", "k", b"")

    async def test_all_who_ask_at_once_are_told_the_same_mark_and_those_who_ask_later(self, store: ObjectStore) -> None:
        marks = await asyncio.gather(*(store.mark() for _ in range(8)))
        assert {*marks, await store.mark()} == {marks[0]}
        assert marks[0]

    async def test_collections_are_apart(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "k", b"record")
        with pytest.raises(NotFound):
            await store.get("training-store", "k")

    async def test_deleting_is_silent_about_what_is_not_there(self, store: ObjectStore, collection: str) -> None:
        await store.put_many(collection, [Upload(name, b"") for name in "abc"])
        await store.delete(collection, "a", "nothing", "b", "b")
        assert await keys(store, collection) == ["c"]

    async def test_odd_keys_are_listed_and_deleted_together(self, store: ObjectStore) -> None:
        odd = [*ODD_KEYS, *NO_XML]
        await store.put_many(RECORDS, [Upload(key, b"") for key in ["stays", *odd]])
        assert set(await keys(store, RECORDS)) == {"stays", *odd}
        await store.delete(RECORDS, *odd)
        assert await keys(store, RECORDS) == ["stays"]

    @pytest.mark.parametrize("key", ODD_KEYS)
    async def test_a_signed_url_gets_the_object(self, store: ObjectStore, key: str) -> None:
        assert await gets_by_url(store, key)

    @pytest.mark.parametrize("key", ODD_KEYS)
    async def test_a_signed_url_puts_the_object(self, store: ObjectStore, key: str) -> None:
        data = os.urandom(100_000)
        async with httpx.AsyncClient() as client:
            response = await client.put(await store.presign("PUT", DATA, key, expires=60), content=data)
        assert response.status_code == 200
        assert await store.get(DATA, key) == data


class AnyKeyBehaviour(_Behaviour):
    """What not even every S3 server does: some keep objects in folders, and know no other names, and no other order,
    than theirs. Mix it in where nothing is in the way; no key of the services' own needs it."""

    @pytest.mark.parametrize("key", NO_PATHS)
    async def test_what_looks_like_a_path_is_a_key_too(self, store: ObjectStore, key: str) -> None:
        assert await kept_under(store, key) == (b"here", [key])

    @pytest.mark.parametrize("key", [key for key in NO_PATHS if key != ".."])
    async def test_a_signed_url_gets_what_looks_like_a_path(self, store: ObjectStore, key: str) -> None:
        assert await gets_by_url(store, key)

    @pytest.mark.parametrize("key", [key for key in NO_PATHS if key != ".."])
    async def test_a_signed_url_puts_what_looks_like_a_path(self, store: ObjectStore, key: str) -> None:
        assert await puts_by_url(store, key)

    async def test_a_listing_is_in_the_order_of_utf8(self, store: ObjectStore) -> None:
        names = ["a", "B", "é", "z", "\uffff", "\U0001f52c", "a/b", "a b", "aa"]
        await store.put_many(RECORDS, [Upload(name, b"") for name in names])
        assert await keys(store, RECORDS) == sorted(names, key=lambda name: name.encode())


class ConditionBehaviour(_Behaviour):
    """Of those who write at once, one wins."""

    @pytest.mark.parametrize("size", [10, 100_000])
    async def test_of_racing_creators_exactly_one_wins(self, store: ObjectStore, size: int) -> None:
        async def create(number: int) -> ObjectInfo:
            return await store.put(RECORDS, "k", bytes([number]) * size, condition=ABSENT)

        outcomes = await asyncio.gather(*(create(number) for number in range(20)), return_exceptions=True)
        winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, ObjectInfo)]
        losers = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
        assert (len(winners), len(losers)) == (1, 19)
        assert await store.get(RECORDS, "k") == bytes([winners[0]]) * size

    async def test_of_racing_changers_exactly_one_wins(self, store: ObjectStore) -> None:
        info = await store.put(RECORDS, "k", b"0")

        async def change(number: int) -> ObjectInfo:
            return await store.put(RECORDS, "k", b"new %d" % number, condition=Condition(etag=info.etag))

        outcomes = await asyncio.gather(*(change(number) for number in range(20)), return_exceptions=True)
        assert sum(isinstance(outcome, ObjectInfo) for outcome in outcomes) == 1
        assert {outcome.code for outcome in outcomes if isinstance(outcome, Conflict)} == {"precondition_failed"}

    async def test_a_refused_write_harms_no_other(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "taken", b"")
        puts = [store.put(RECORDS, f"free{n}", b"") for n in range(10)]
        refused = store.put(RECORDS, "taken", b"", condition=ABSENT)
        outcomes = await asyncio.gather(*puts[:5], refused, *puts[5:], return_exceptions=True)
        assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Conflict)] == [5]
        assert len(await keys(store, RECORDS, "free")) == 10

    async def test_an_etag_holds_until_the_object_changes(self, store: ObjectStore) -> None:
        first = await store.put(RECORDS, "k", b"1")
        second = await store.put(RECORDS, "k", b"2", condition=Condition(etag=first.etag))
        with pytest.raises(Conflict):
            await store.put(RECORDS, "k", b"3", condition=Condition(etag=first.etag))
        assert (await store.head(RECORDS, "k")).etag == second.etag

    async def test_an_etag_does_not_hold_for_an_object_that_is_gone(self, store: ObjectStore) -> None:
        info = await store.put(RECORDS, "k", b"1")
        await store.delete(RECORDS, "k")
        with pytest.raises(Conflict):
            await store.put(RECORDS, "k", b"2", condition=Condition(etag=info.etag))

    async def test_streams_take_conditions_too(self, store: ObjectStore, collection: str) -> None:
        await store.put_stream(collection, "k", pieces(b"x" * 100_000), condition=ABSENT)
        with pytest.raises(Conflict):
            await store.put_stream(collection, "k", pieces(b"y" * 100_000), condition=ABSENT)
        assert await store.get(collection, "k") == b"x" * 100_000

    async def test_racing_streams_have_one_winner(self, store: ObjectStore) -> None:
        streams = [
            store.put_stream(DATA, "k", pieces(bytes([n]) * 300_000, 50_000), condition=ABSENT) for n in range(20)
        ]
        outcomes = await asyncio.gather(*streams, return_exceptions=True)
        assert sum(isinstance(outcome, ObjectInfo) for outcome in outcomes) == 1

    async def test_after_a_delete_the_name_is_free_again(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "k", b"1")
        await store.delete(RECORDS, "k")
        assert (await store.put(RECORDS, "k", b"2", condition=ABSENT)).size == 1


class ListingBehaviour(_Behaviour):
    """Pages, and where to go on."""

    async def test_a_page_has_no_more_than_its_limit_and_tells_how_to_go_on(self, store: ObjectStore) -> None:
        await store.put_many(RECORDS, [Upload(f"{n}", b"") for n in range(5)])
        first = await store.list(RECORDS, limit=2)
        rest = await store.list(RECORDS, after=first.next, limit=3)
        assert ([item.key for item in first.items], first.next) == (["0", "1"], "1")
        assert ([item.key for item in rest.items], rest.next) == (["2", "3", "4"], None)

    async def test_a_listing_goes_on_though_objects_vanish(self, store: ObjectStore) -> None:
        await store.put_many(RECORDS, [Upload(f"{n:03d}", b"") for n in range(100)])
        seen: list[str] = []
        after: str | None = None
        while True:
            page = await store.list(RECORDS, after=after, limit=10)
            seen += [item.key for item in page.items]
            await store.delete(RECORDS, *(item.key for item in page.items))
            if (after := page.next) is None:
                break
        assert seen == [f"{n:03d}" for n in range(100)]

    async def test_a_prefix_is_taken_literally(self, store: ObjectStore) -> None:
        await store.put_many(RECORDS, [Upload(name, b"") for name in ("a_b", "a%b", "aXb", "a", "A_b", "a\U0010ffff")])
        assert await keys(store, RECORDS, "a_") == ["a_b"]
        assert await keys(store, RECORDS, "a\U0010ffff") == ["a\U0010ffff"]

    async def test_a_prefix_and_where_to_go_on_work_together(self, store: ObjectStore) -> None:
        await store.put_many(RECORDS, [Upload(name, b"") for name in ("a/1", "b/1", "b/2", "b/3", "c/1")])
        before, inside = (
            await store.list(RECORDS, prefix="b/", after="a/9"),
            await store.list(RECORDS, prefix="b/", after="b/1"),
        )
        assert [len(before.items), len(inside.items)] == [3, 2]

    async def test_a_listing_tells_sizes_and_etags(self, store: ObjectStore) -> None:
        info = await store.put(RECORDS, "k", b"four")
        (item,) = (await store.list(RECORDS)).items
        assert (item.size, item.etag) == (4, info.etag)

    async def test_an_empty_listing_is_no_error(self, store: ObjectStore) -> None:
        page = await store.list(RECORDS, prefix="nothing/")
        assert (page.items, page.next) == ([], None)


class ObjectStoreBehaviour(KeyBehaviour, ConditionBehaviour, ListingBehaviour):
    """Subclass as `Test…` beside a fixture `footing`."""

    # Putting and getting.

    @SIZES
    async def test_what_was_put_comes_back(self, store: ObjectStore, collection: str, size: int) -> None:
        data = os.urandom(size)
        await store.put(collection, "k", data)
        assert await store.get(collection, "k") == data

    @SIZES
    async def test_what_was_streamed_in_streams_out(self, store: ObjectStore, collection: str, size: int) -> None:
        data = os.urandom(size)
        await store.put_stream(collection, "k", pieces(data))
        assert await read(store, collection, "k") == data

    async def test_a_stream_of_many_tiny_pieces_is_joined(self, store: ObjectStore) -> None:
        data = os.urandom(10_000)
        await store.put_stream(DATA, "k", pieces(data, 3))
        assert await store.get(DATA, "k") == data

    async def test_a_put_replaces_the_object_with_all_that_belongs_to_it(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "k", b"old", metadata={"a": "1"}, tags=EXPIRING)
        await store.put(RECORDS, "k", b"new")
        assert await store.get(RECORDS, "k") == b"new"
        assert ((await store.head(RECORDS, "k")).metadata, await store.tags(RECORDS, "k")) == ({}, {})

    async def test_head_tells_what_put_told(self, store: ObjectStore, collection: str) -> None:
        told = await store.put(collection, "k", b"twelve bytes", metadata={"project": "lab1"})
        head = await store.head(collection, "k")
        assert (head.key, head.size, head.etag, dict(head.metadata)) == ("k", 12, told.etag, {"project": "lab1"})
        assert abs(head.modified - datetime.now(UTC)) < timedelta(minutes=1)

    @pytest.mark.parametrize("size", [10, 100_000])
    async def test_the_etag_changes_with_the_bytes(self, store: ObjectStore, collection: str, size: int) -> None:
        first = await store.put_stream(collection, "k", pieces(os.urandom(size)))
        second = await store.put_stream(collection, "k", pieces(os.urandom(size)))
        assert first.etag != second.etag
        assert '"' not in first.etag

    async def test_many_small_objects_go_in_at_once(self, store: ObjectStore) -> None:
        uploads = [Upload(f"{n:04d}", b"%d" % n, {"n": str(n)}, EXPIRING) for n in range(min(600, self.crowd))]
        await store.put_many(RECORDS, [*uploads, Upload("large", b"x" * 100_000)])
        assert await store.get(RECORDS, uploads[-1].key) == uploads[-1].data
        assert (await store.tags(RECORDS, "0000"), await store.get(RECORDS, "large")) == (EXPIRING, b"x" * 100_000)

    async def test_files_are_moved_in(self, store: ObjectStore, collection: str, tmp_path: Path) -> None:
        sizes = [0, 100, 200_000]
        uploads = [FileUpload(f"k{size}", tmp_path / str(size), {"size": str(size)}, EXPIRING) for size in sizes]
        for upload, size in zip(uploads, sizes, strict=True):
            upload.path.write_bytes(b"x" * size)
        infos = await store.put_files(collection, uploads)
        assert [(info.key, info.size) for info in infos] == [("k0", 0), ("k100", 100), ("k200000", 200_000)]
        assert [len(await store.get(collection, info.key)) for info in infos] == sizes
        assert (await store.head(collection, "k100")).metadata == {"size": "100"}
        assert not any(upload.path.exists() for upload in uploads)

    async def test_many_files_are_moved_in_together(self, store: ObjectStore, tmp_path: Path) -> None:
        uploads = [FileUpload(f"{n:03d}", tmp_path / str(n)) for n in range(min(300, self.crowd))]
        for number, upload in enumerate(uploads):
            upload.path.write_bytes(b"%d" % number)
        infos = await store.put_files(DATA, uploads)
        assert [await store.get(DATA, info.key) for info in infos] == [b"%d" % number for number in range(len(uploads))]
        assert not any(tmp_path.iterdir())

    async def test_no_files_are_no_trouble(self, store: ObjectStore) -> None:
        assert await store.put_files(DATA, []) == []

    async def test_a_file_that_is_missing_stores_none_and_takes_none(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "there").write_bytes(b"x")
        with pytest.raises(InvalidInput, match="gone"):
            await store.put_files(DATA, [FileUpload("a", tmp_path / "there"), FileUpload("b", tmp_path / "gone")])
        assert await keys(store, DATA) == []
        assert (tmp_path / "there").read_bytes() == b"x"

    async def test_a_link_is_no_file_to_store(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/etc/passwd")
        with pytest.raises(InvalidInput, match="regular file"):
            await store.put_files(DATA, [FileUpload("a", tmp_path / "link")])

    # Nothing half-written.

    @pytest.mark.parametrize("size", [100, 5 * CHUNK])
    async def test_a_stream_that_fails_leaves_the_old_object(
        self, store: ObjectStore, collection: str, size: int
    ) -> None:
        await store.put(collection, "k", b"old")
        with pytest.raises(ConnectionResetError):
            await store.put_stream(collection, "k", failing_after(os.urandom(size)))
        assert await store.get(collection, "k") == b"old"

    async def test_a_cancelled_stream_stores_nothing(self, store: ObjectStore, collection: str) -> None:
        given = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(6):
                yield b"x" * CHUNK
            given.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(store.put_stream(collection, "k", endless()))
        await asyncio.wait_for(given.wait(), 60)
        upload.cancel()
        await asyncio.wait([upload], timeout=60)
        assert upload.cancelled()
        assert await keys(store, collection) == []

    @pytest.mark.parametrize("size", [1001, 4 * CHUNK])
    async def test_a_stream_past_its_limit_is_too_large(self, store: ObjectStore, collection: str, size: int) -> None:
        with pytest.raises(TooLarge, match="1000"):
            await store.put_stream(collection, "k", pieces(b"x" * size), limit=1000)
        assert await keys(store, collection) == []

    async def test_a_stream_of_just_its_limit_is_stored(self, store: ObjectStore) -> None:
        assert (await store.put_stream(DATA, "k", pieces(b"x" * 1000), limit=1000)).size == 1000

    async def test_readers_see_the_old_object_or_the_new_one(self, store: ObjectStore) -> None:
        versions = {bytes([n]) * 200_000 for n in range(8)}
        await store.put(DATA, "k", next(iter(versions)))

        async def overwrite() -> None:
            for version in versions:
                await store.put(DATA, "k", version)

        writing = asyncio.create_task(overwrite())
        seen = set()
        while not writing.done():
            seen.add(await store.get(DATA, "k"))
            await asyncio.sleep(0)  # A store that waits for nothing lets nobody else on either.
        await writing
        assert seen <= versions

    @pytest.mark.parametrize("size", [200, 200_000])
    async def test_everything_is_there_after_a_restart(self, footing: Footing, collection: str, size: int) -> None:
        data = os.urandom(size)
        before = await footing.store.put(collection, "k", data, metadata={"a": "b"}, tags={"c": "d"})
        store = await footing.reopen()
        after = await store.head(collection, "k")
        assert (await store.get(collection, "k"), await store.tags(collection, "k")) == (data, {"c": "d"})
        assert (after.etag, after.metadata) == (before.etag, {"a": "b"})

    # Ranges.

    @pytest.mark.parametrize(
        ("start", "stop"),
        [(0, 10), (5, 6), (5, 5), (9, 4), (CHUNK - 1, CHUNK + 1), (2 * CHUNK, None), (0, 10**12), (10**12, None)],
    )
    async def test_a_stream_gives_the_bytes_of_its_range(
        self, store: ObjectStore, collection: str, start: int, stop: int | None
    ) -> None:
        data = os.urandom(2 * CHUNK + 100)
        await store.put(collection, "k", data)
        assert await read(store, collection, "k", start, stop) == data[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, None), (5, None), (99, 100)])
    async def test_small_objects_have_ranges_too(self, store: ObjectStore, start: int, stop: int | None) -> None:
        await store.put(RECORDS, "k", b"12345")
        assert await read(store, RECORDS, "k", start, stop) == b"12345"[start:stop]

    async def test_negative_ranges_are_refused(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "k", b"12345")
        with pytest.raises(InvalidInput):
            await read(store, RECORDS, "k", -2)

    async def test_a_stream_comes_in_chunks(self, store: ObjectStore) -> None:
        await store.put(DATA, "k", b"x" * (9 * CHUNK + 1))
        sizes = [len(piece) async for piece in store.stream(DATA, "k")]
        assert sizes == [CHUNK] * 9 + [1]

    async def test_a_stream_stays_with_its_version(self, store: ObjectStore) -> None:
        old = os.urandom(12 * CHUNK)
        await store.put(DATA, "k", old)
        reading = store.stream(DATA, "k")
        got = await anext(reading)
        await store.put(DATA, "k", b"new")
        await store.delete(DATA, "k")
        async for piece in reading:
            got += piece
        assert got == old

    # Tags and metadata.

    async def test_tags_can_be_replaced_and_bytes_stay(self, store: ObjectStore, collection: str) -> None:
        info = await store.put(collection, "k", b"bytes", metadata={"m": "1"}, tags={"a": "1", "b": "2"})
        await store.set_tags(collection, "k", {"c": "3"})
        assert await store.tags(collection, "k") == {"c": "3"}
        after = await store.head(collection, "k")
        assert (after.etag, after.metadata, await store.get(collection, "k")) == (info.etag, {"m": "1"}, b"bytes")

    @pytest.mark.parametrize("metadata", [{"a": "ž"}, {"a\n": "b"}, {"a": "x" * 3000}, {"": "x"}])
    async def test_metadata_is_short_ascii(self, store: ObjectStore, metadata: dict[str, str]) -> None:
        with pytest.raises(InvalidInput):
            await store.put(RECORDS, "k", b"", metadata=metadata)

    @pytest.mark.parametrize("tags", [{str(n): "" for n in range(11)}, {"x" * 129: ""}, {"x": "y" * 257}])
    async def test_tags_are_few_and_short(self, store: ObjectStore, tags: dict[str, str]) -> None:
        with pytest.raises(InvalidInput):
            await store.put(RECORDS, "k", b"", tags=tags)

    async def test_an_expiry_can_be_set_and_taken_back(self, store: ObjectStore) -> None:
        await store.put(RECORDS, "k", b"", tags=EXPIRING)
        await store.set_expiry(RECORDS, 30)
        await store.set_expiry(RECORDS, None)
        assert await keys(store, RECORDS) == ["k"]

    # Checking out, deleting.

    @pytest.mark.parametrize("size", [0, 100, 200_000])
    async def test_a_checked_out_object_outlives_its_deletion(
        self, store: ObjectStore, collection: str, size: int, tmp_path: Path
    ) -> None:
        data = os.urandom(size)
        await store.put(collection, "k", data)
        info = await store.checkout(collection, "k", tmp_path / "sub" / "target")
        await store.delete(collection, "k")
        assert (info.size, (tmp_path / "sub" / "target").read_bytes()) == (size, data)

    async def test_checking_out_replaces_what_was_there(
        self, store: ObjectStore, collection: str, tmp_path: Path
    ) -> None:
        (tmp_path / "target").write_bytes(b"something older")
        await store.put(collection, "k", b"new")
        await store.checkout(collection, "k", tmp_path / "target")
        await store.checkout(collection, "k", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"new"
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["target"]

    async def test_what_was_checked_out_stays_when_the_object_is_replaced(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        await store.put_stream(DATA, "k", pieces(b"old"))
        await store.checkout(DATA, "k", tmp_path / "target")
        await store.put_stream(DATA, "k", pieces(b"new"))
        assert (tmp_path / "target").read_bytes() == b"old"

    async def test_heads_of_many_are_those_that_are_there(self, store: ObjectStore, collection: str, own: bool) -> None:
        for name in ("b", "a", "gone"):
            await store.put_stream(collection, name, pieces(b"x" * 100), metadata={"name": name})
        await store.delete(collection, "gone")
        infos = await head_many(store, collection, ["nothing", "b", "gone", "a", "b"], own=own)
        assert infos == {name: await store.head(collection, name) for name in ("b", "a")}
        assert list(infos) == ["b", "a"]

    async def test_a_key_that_cannot_be_is_refused_among_many(self, store: ObjectStore, own: bool) -> None:
        with pytest.raises(InvalidInput):
            await head_many(store, RECORDS, ["good", "nul\0"], own=own)

    async def test_many_are_checked_out_at_once(
        self, store: ObjectStore, collection: str, own: bool, tmp_path: Path
    ) -> None:
        await store.put(collection, "small", b"small")
        await store.put_stream(collection, "streamed", pieces(b"streamed"))
        await store.put_stream(collection, "large", pieces(b"x" * 200_000))
        (tmp_path / "small").write_bytes(b"something older")
        targets = {name: tmp_path / name for name in ("streamed", "nothing", "small")} | {
            "large": tmp_path / "deep" / "large"
        }
        infos = await checkout_many(store, collection, targets, own=own)
        assert infos == {name: await store.head(collection, name) for name in ("streamed", "small", "large")}
        assert [targets[name].read_bytes() for name in infos] == [b"streamed", b"small", b"x" * 200_000]
        assert not targets["nothing"].exists()

    async def test_none_of_none_are_there(self, store: ObjectStore, own: bool) -> None:
        assert await head_many(store, DATA, [], own=own) == await checkout_many(store, DATA, {}, own=own) == {}

    async def test_deleting_nothing_is_fine(self, store: ObjectStore) -> None:
        await store.delete(RECORDS)
        assert await keys(store, RECORDS) == []

    async def test_what_is_not_there_is_not_found(self, store: ObjectStore, collection: str, tmp_path: Path) -> None:
        asked = [
            store.get(collection, "k"),
            store.head(collection, "k"),
            read(store, collection, "k"),
            store.checkout(collection, "k", tmp_path / "target"),
            store.tags(collection, "k"),
            store.set_tags(collection, "k", {}),
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["object_not_found"] * len(asked)
        assert not any(tmp_path.iterdir())

    async def test_a_deleted_object_is_not_found(self, store: ObjectStore, collection: str) -> None:
        await store.put(collection, "k", b"1")
        await store.get(collection, "k")
        await store.delete(collection, "k")
        with pytest.raises(NotFound):
            await store.get(collection, "k")

    # Signed URLs.

    async def test_a_signed_url_gets_a_range(self, store: ObjectStore) -> None:
        await store.put(DATA, "k", b"0123456789")
        async with httpx.AsyncClient() as client:
            url = await store.presign("GET", DATA, "k", expires=60)
            response = await client.get(url, headers={"Range": "bytes=2-4"})
        assert (response.status_code, response.content) == (206, b"234")

    async def test_a_signed_url_is_good_for_one_method_only(self, store: ObjectStore) -> None:
        await store.put(DATA, "k", b"mine")
        async with httpx.AsyncClient() as client:
            put = await client.put(await store.presign("GET", DATA, "k", expires=60), content=b"theirs")
            get = await client.get(await store.presign("PUT", DATA, "k", expires=60))
        assert (put.status_code, get.status_code) == (403, 403)

    async def test_a_signed_url_is_good_for_one_object_only(self, store: ObjectStore) -> None:
        await store.put(DATA, "other", b"not yours")
        url = await store.presign("GET", DATA, "mine", expires=60)
        async with httpx.AsyncClient() as client:
            response = await client.get(url.replace("mine", "other"))
        assert response.status_code == 403

    # The store itself.

    async def test_an_open_store_is_healthy(self, store: ObjectStore) -> None:
        assert await store.healthy()


def flipped(data: bytes) -> bytes:
    """The data with one bit another, in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def digest_of_key(store: ObjectStore, collection: str, key: str) -> str | None:
    return await store.digest(collection, await store.head(collection, key))


class DigestBehaviour(_Behaviour):
    """Every object has the SHA-256 that its bytes had when they came, and is not handed out with others."""

    @pytest.mark.parametrize("size", [0, 1000, 70_000, 9 * CHUNK])
    async def test_what_is_streamed_in_has_its_digest_at_once(self, store: ObjectStore, size: int) -> None:
        data = os.urandom(size)

        told = await store.put_stream(DATA, "k", pieces(data, CHUNK))

        assert (told.digest, await digest_of_key(store, DATA, "k")) == (digest_of(data), digest_of(data))

    @pytest.mark.parametrize("size", [1000, 9 * CHUNK])
    async def test_a_file_has_its_digest_soon(self, store: ObjectStore, tmp_path: Path, size: int) -> None:
        # Given
        data, path = os.urandom(size), tmp_path / "file"
        path.write_bytes(data)

        # When
        await store.put_files(DATA, [FileUpload("k", path)])

        # Then
        async with asyncio.timeout(30):
            while (found := await digest_of_key(store, DATA, "k")) is None:
                await asyncio.sleep(0.05)
        assert found == digest_of(data)

    @pytest.mark.parametrize("size", [1000, 9 * CHUNK])
    async def test_other_bytes_than_their_digest_says_are_refused_and_leave_nothing(
        self, store: ObjectStore, collection: str, size: int
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            await store.put_stream(collection, "k", pieces(bytes(size), CHUNK), digest=digest_of(b"others"))

        assert (caught.value.code, await keys(store, collection)) == ("digest_mismatch", [])

    async def test_new_tags_leave_the_digest_and_show_nothing_of_it(self, store: ObjectStore) -> None:
        data = os.urandom(9 * CHUNK)
        await store.put_stream(DATA, "k", pieces(data, CHUNK), tags=EXPIRING)

        await store.set_tags(DATA, "k", {"a": "b"})

        assert (await store.tags(DATA, "k"), await digest_of_key(store, DATA, "k")) == ({"a": "b"}, digest_of(data))

    async def test_a_digest_is_of_one_version(self, store: ObjectStore) -> None:
        await store.put_stream(DATA, "k", pieces(os.urandom(9 * CHUNK), CHUNK))

        await store.put_stream(DATA, "k", pieces(b"another", CHUNK))

        assert await digest_of_key(store, DATA, "k") == digest_of(b"another")

    async def test_a_damaged_object_is_not_checked_out(
        self, footing: Footing, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given an object of which a bit flips
        store = footing.store
        await store.put_stream(DATA, "files/broken", pieces(os.urandom(100_000)))
        await footing.damage(DATA, "files/broken")

        # When it is checked out, then its error names it, and there is no file
        with pytest.raises(Damaged, match="files/broken"):
            await store.checkout(DATA, "files/broken", tmp_path / "target")
        assert "'files/broken' in data-store is damaged" in caplog.text
        assert not (tmp_path / "target").exists()

    async def test_a_damaged_object_among_many_fails_them_all(
        self, footing: Footing, tmp_path: Path, own: bool
    ) -> None:
        store, targets = footing.store, {name: tmp_path / name for name in "abc"}
        for name in targets:
            await store.put_stream(DATA, name, pieces(os.urandom(100_000)))
        await footing.damage(DATA, "b")

        with pytest.raises(Damaged, match="'b'"):
            await checkout_many(store, DATA, targets, own=own)


class CrowdBehaviour(_Behaviour):
    """What every store does with very many objects. It takes a while, and how a store is laid out makes no difference:
    mix it into one test class per adapter."""

    async def test_pages_add_up_to_more_than_a_thousand_objects(self, store: ObjectStore) -> None:
        await store.put_many(RECORDS, [Upload(f"n/{n:05d}", b"") for n in range(1010)])
        assert await keys(store, RECORDS, "n/") == [f"n/{n:05d}" for n in range(1010)]

    async def test_heads_of_very_many_are_all_told(self, store: ObjectStore, own: bool) -> None:
        there = range(0, self.crowd, 9)
        await store.put_many(RECORDS, [Upload(f"{n}", b"%d" % n) for n in there])
        infos = await head_many(store, RECORDS, [f"{n}" for n in range(self.crowd)], own=own)
        assert [(info.key, info.size) for info in infos.values()] == [(f"{n}", len(str(n))) for n in there]

    async def test_many_checked_out_outlive_their_deletion(self, store: ObjectStore, own: bool, tmp_path: Path) -> None:
        names = [str(n) for n in range(min(300, self.crowd))]
        for name in names[:5]:
            await store.put_stream(DATA, name, pieces(name.encode()))
        await store.put_many(DATA, [Upload(name, name.encode()) for name in names[5:]])
        await checkout_many(store, DATA, {name: tmp_path / name for name in names}, own=own)
        await store.delete(DATA, *names)
        assert [(tmp_path / name).read_text() for name in names] == names
