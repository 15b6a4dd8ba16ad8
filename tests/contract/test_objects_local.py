"""The embedded store: what every store does, and what only this one promises."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
import resource
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from shared.listening import Site
from shared.objects import hashing
from shared.objects.base import CHUNK, EXPIRING, Condition, FileUpload, Upload, list_all
from shared.objects.embedded import digesting, engine
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.changes import Digested
from shared.objects.embedded.rows import Row
from shared.objects.local import LocalObjectStore
from shared.objects.signed import routes
from tests.contract.object_store_behaviour import (
    DATA,
    RECORDS,
    AnyKeyBehaviour,
    CrowdBehaviour,
    DigestBehaviour,
    Footing,
    ObjectStoreBehaviour,
    flipped,
    keys,
    pieces,
    read,
)
from voxloom.digests import digest_of
from voxloom.errors import Damaged, InvalidInput, Misconfigured, StoreUnavailable

DAY = 86_400.0
LIMIT = 8 * CHUNK
"""Of an upload through a signed URL."""


class LocalFooting(Footing):
    """An embedded store with the routes of its signed URLs served on a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 1_700_000_000.0
        self.store: LocalObjectStore = self.new_store()
        self._runner: web.AppRunner | None = None

    def new_store(self) -> LocalObjectStore:
        return LocalObjectStore(self.folder)

    async def start(self) -> None:
        await self.store.open()
        app = web.Application()
        app.add_routes(routes(self.store, limit=LIMIT))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = Site(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.store.public_url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        await self.store.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def reopen(self) -> LocalObjectStore:
        await self.stop()
        self.store = self.new_store()
        await self.start()
        return self.store

    async def damage(self, collection: str, key: str) -> None:
        row = await self.store._now().find((collection, key.encode()))
        assert row.file is not None
        path = self.folder / "objects" / row.file
        path.chmod(0o600)
        path.write_bytes(flipped(path.read_bytes()))

    def files(self) -> list[Path]:
        """All files of objects, and those that nobody needs any more."""
        return [path for path in (self.folder / "objects").rglob("*") if path.is_file()]


class ClockedFooting(LocalFooting):
    """A store whose clock the test moves."""

    def new_store(self) -> LocalObjectStore:
        return LocalObjectStore(self.folder, clock=lambda: self.time, monotonic=lambda: self.time)


@pytest.fixture
async def footing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalFooting]:
    footing = LocalFooting(tmp_path_factory.mktemp("store"))
    await footing.start()
    yield footing
    await footing.stop()


@pytest.fixture
async def clocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClockedFooting]:
    footing = ClockedFooting(tmp_path_factory.mktemp("store"))
    await footing.start()
    yield footing
    await footing.stop()


@pytest.fixture
def store(footing: LocalFooting) -> LocalObjectStore:
    return footing.store


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """As if the disk were full: no file grows past 1 MiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it comes true in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
    return True


class TestLocalObjectStore(ObjectStoreBehaviour, AnyKeyBehaviour, CrowdBehaviour, DigestBehaviour):
    pass


class TestDigests:
    async def test_what_a_store_has_not_come_to_hash_has_its_digest_soon_after_the_next_start(
        self, footing: LocalFooting
    ) -> None:
        # Given a file whose digest was not noted when the store closed
        path = footing.store.scratch / "output"
        path.write_bytes(b"output")
        await footing.store.put_files(DATA, [FileUpload("k", path)])
        assert (await footing.store.head(DATA, "k")).digest is None

        # When
        await footing.reopen()

        # Then
        async with asyncio.timeout(30):
            while (found := (await footing.store.head(DATA, "k")).digest) is None:
                await asyncio.sleep(0.05)
        assert found == digest_of(b"output")

    async def test_a_digest_that_could_not_be_noted_comes_later_and_an_unreadable_file_keeps_no_other_from_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given two files, one of them on a bad sector, and a disk that is full at first
        blobs = Blobs(tmp_path)
        blobs.prepare()
        names = blobs.new_names(2)
        for name in names:
            blobs.new_path(name).write_bytes(b"output")
        rows = [Row(DATA, name.encode(), 6, "e", 0, "{}", "{}", None, name) for name in names]
        readable, noted, full = hashing.digest_at, list[str](), [StoreUnavailable("full")]

        def read(path: Path, given_up: Callable[[], bool]) -> str:
            if path == blobs.path(names[0]):
                raise OSError(errno.EIO, "bad sector")
            return readable(path, given_up)

        async def write(found: Sequence[Digested]) -> None:
            if full:
                raise full.pop()
            noted.extend(one.file for one in found)

        async def look(_: int) -> Sequence[Row]:
            return rows

        monkeypatch.setattr(digesting, "digest_at", read)
        monkeypatch.setattr(digesting, "QUIET_SECS", 0.01)
        monkeypatch.setattr(digesting, "RETRY_SECS", 0.01, raising=False)

        # When
        late = digesting.Late(blobs, digesting.Checks(), write, look)
        late.add(rows)
        running = asyncio.create_task(late.run())

        # Then
        assert await until(lambda: noted == [names[1]], 10)
        running.cancel()
        await late.close()

    async def test_a_file_damaged_while_the_store_was_closed_is_found_by_who_wants_it(
        self, footing: LocalFooting, tmp_path: Path
    ) -> None:
        await footing.store.put_stream(DATA, "k", pieces(os.urandom(100_000)))
        await footing.damage(DATA, "k")
        store = await footing.reopen()

        with pytest.raises(Damaged, match="'k'"):
            await store.checkout(DATA, "k", tmp_path / "target")

    async def test_data_of_the_version_before_digests_goes_on_to_work(
        self, footing: LocalFooting, tmp_path: Path
    ) -> None:
        # Given a folder as an older version has left it
        await footing.store.put_stream(DATA, "old", pieces(b"old bytes"))
        await footing.stop()
        with sqlite3.connect(footing.folder / "objects.sqlite") as connection:
            connection.executescript("ALTER TABLE objects DROP COLUMN digest; PRAGMA user_version = 1;")
        connection.close()
        (footing.folder / "objects.sqlite.seal").unlink()

        # When
        footing.store = footing.new_store()
        await footing.start()

        # Then
        info = await footing.store.checkout(DATA, "old", tmp_path / "target")
        assert ((tmp_path / "target").read_bytes(), info.digest) == (b"old bytes", None)


WAYS_TO_KEEP_A_FILE: dict[str, Callable[[Path], Callable[[], object]]] = {}
"""Each opens a file and returns what writes to it later."""


def way(keep: Callable[[Path], Callable[[], object]]) -> Callable[[Path], Callable[[], object]]:
    WAYS_TO_KEEP_A_FILE[keep.__name__] = keep
    return keep


@way
def a_descriptor(path: Path) -> Callable[[], object]:
    file = path.open("r+b", buffering=0)

    def write() -> None:
        with file:
            file.write(b"changed!")

    return write


@way
def a_map(path: Path) -> Callable[[], object]:
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    return lambda: memory.write(b"changed!")


@way
def another_name(path: Path) -> Callable[[], object]:
    other = path.with_name("another")
    os.link(path, other)
    return lambda: other.write_bytes(b"changed!")


class TestFilesOfOthers:
    @pytest.mark.parametrize("keep", WAYS_TO_KEEP_A_FILE.values(), ids=WAYS_TO_KEEP_A_FILE.keys())
    async def test_who_keeps_a_hand_on_a_file_does_not_change_the_object(
        self, footing: LocalFooting, keep: Callable[[Path], Callable[[], object]]
    ) -> None:
        # Given a file that its author can still write to
        data, path = os.urandom(100_000), footing.store.scratch / "output"
        path.write_bytes(data)
        write_later = keep(path)

        # When it is stored, and written to afterwards
        await footing.store.put_files(DATA, [FileUpload("k", path)])
        write_later()

        # Then
        assert await footing.store.get(DATA, "k") == data

    async def test_what_nobody_can_change_is_taken_as_it_is(self, footing: LocalFooting) -> None:
        path = footing.store.scratch / "output"
        path.write_bytes(b"settled")
        os.link(path, path.with_name("another"))

        await footing.store.put_files(DATA, [FileUpload("k", path, settled=True)])

        (file,) = footing.files()
        assert file.samefile(path.with_name("another"))

    async def test_where_the_system_cannot_tell_who_has_a_file_open_it_is_copied(
        self, footing: LocalFooting, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given
        monkeypatch.delattr(fcntl, "F_SETLEASE")
        path = footing.store.scratch / "output"
        path.write_bytes(b"bytes")
        inode = path.stat().st_ino

        # When
        await footing.store.put_files(DATA, [FileUpload("k", path)])

        # Then
        (file,) = footing.files()
        assert (await footing.store.get(DATA, "k"), file.stat().st_ino == inode) == (b"bytes", False)


class TestFiles:
    async def test_small_objects_are_no_files(self, footing: LocalFooting) -> None:
        await footing.store.put(RECORDS, "small", b"x" * 65_536)
        await footing.store.put_stream(RECORDS, "streamed", pieces(b"x" * 65_536))
        await footing.store.put(DATA, "small", b"x" * 65_536)
        await footing.store.put_many(DATA, [Upload("of many", b"x" * 65_536)])
        assert footing.files() == []

    async def test_what_is_streamed_or_moved_to_data_is_a_file_however_small(
        self, footing: LocalFooting, tmp_path: Path
    ) -> None:
        await footing.store.put_stream(DATA, "streamed", pieces(b"x"))
        (tmp_path / "made").write_bytes(b"")
        await footing.store.put_files(DATA, [FileUpload("moved", tmp_path / "made")])
        assert sorted(path.stat().st_size for path in footing.files()) == [0, 1]

    async def test_a_record_beyond_the_limit_is_a_file(self, footing: LocalFooting) -> None:
        await footing.store.put(RECORDS, "k", b"x" * 65_537)
        assert [path.stat().st_size for path in footing.files()] == [65_537]

    async def test_no_file_is_named_after_a_key(self, footing: LocalFooting) -> None:
        await footing.store.put(DATA, "../../evil", b"x")
        around = [*footing.folder.rglob("*"), *footing.folder.parent.iterdir()]
        assert not [path for path in around if "evil" in path.name]

    async def test_checking_out_data_makes_a_link(self, footing: LocalFooting, tmp_path: Path) -> None:
        await footing.store.put_stream(DATA, "k", pieces(b"bytes"))
        await footing.store.checkout(DATA, "k", tmp_path / "target")
        (path,) = footing.files()
        assert path.samefile(tmp_path / "target")

    async def test_objects_cannot_be_written_to_by_accident(self, footing: LocalFooting, tmp_path: Path) -> None:
        await footing.store.put_stream(DATA, "k", pieces(b"bytes"))
        (tmp_path / "made").write_bytes(b"x")
        await footing.store.put_files(DATA, [FileUpload("moved", tmp_path / "made")])
        assert {stat.S_IMODE(path.stat().st_mode) for path in footing.files()} == {0o444}

    async def test_scratch_files_become_objects_without_copying(self, footing: LocalFooting) -> None:
        source = footing.store.scratch / "made"
        source.write_bytes(b"x" * 1000)
        number = source.stat().st_ino
        await footing.store.put_files(DATA, [FileUpload("k", source)])
        assert [path.stat().st_ino for path in footing.files()] == [number]

    async def test_files_of_another_file_system_are_copied(
        self, footing: LocalFooting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_link(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", no_link)
        (tmp_path / "made").write_bytes(b"far away")
        await footing.store.put_files(DATA, [FileUpload("k", tmp_path / "made")])
        await footing.store.checkout(DATA, "k", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == await footing.store.get(DATA, "k") == b"far away"
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("how", ["overwrite", "delete"])
    async def test_replaced_and_deleted_files_go(self, footing: LocalFooting, how: str) -> None:
        await footing.store.put_stream(DATA, "k", pieces(b"x" * 1000))
        (old,) = footing.files()
        await (
            footing.store.put_stream(DATA, "k", pieces(b"")) if how == "overwrite" else footing.store.delete(DATA, "k")
        )
        assert await until(lambda: not old.exists())

    async def test_losers_of_a_race_leave_no_files(self, footing: LocalFooting) -> None:
        await footing.store.put_stream(DATA, "k", pieces(b"first"))
        racing = [
            footing.store.put_stream(DATA, "k", pieces(b"x" * 1000), condition=Condition(etag="other"))
            for _ in range(5)
        ]
        await asyncio.gather(*racing, return_exceptions=True)
        assert await until(lambda: len(footing.files()) == 1)

    async def test_a_cancelled_upload_leaves_no_file(self, footing: LocalFooting) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * CHUNK

        upload = asyncio.create_task(footing.store.put_stream(DATA, "k", endless()))
        await until(lambda: len(footing.files()) == 1)
        upload.cancel()
        await asyncio.wait([upload], timeout=60)
        assert await until(lambda: footing.files() == [])

    async def test_streaming_takes_little_memory(self, store: LocalObjectStore) -> None:
        piece = os.urandom(CHUNK)
        before = resident()
        most = before

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal most
            for _ in range(256):
                most = max(most, resident())
                yield bytes(bytearray(piece))

        await store.put_stream(DATA, "k", chunks())
        async for _ in store.stream(DATA, "k"):
            most = max(most, resident())
        assert most - before < 48 * CHUNK


class TestFolder:
    async def test_the_key_of_signed_urls_is_nobody_elses(self, footing: LocalFooting) -> None:
        assert stat.S_IMODE((footing.folder / "signing.key").stat().st_mode) == 0o600

    async def test_signed_urls_outlive_a_restart(self, footing: LocalFooting) -> None:
        url = await footing.store.presign("GET", DATA, "k", expires=60)
        store = await footing.reopen()
        await store.put(DATA, "k", b"still good")
        path = url.split("/", 3)[3]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{store.public_url}/{path}")).content == b"still good"

    async def test_one_process_at_a_time(self, footing: LocalFooting) -> None:
        with pytest.raises(Misconfigured, match="another folder"):
            await LocalObjectStore(footing.folder).open()
        assert await footing.store.healthy()

    async def test_a_folder_that_cannot_be_is_misconfigured(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(Misconfigured, match="writable"):
            await LocalObjectStore(tmp_path / "file" / "store").open()

    async def test_a_folder_that_may_not_be_written_is_misconfigured(self, tmp_path: Path) -> None:
        store = LocalObjectStore(tmp_path / "store")
        await store.open()
        await store.close()
        (tmp_path / "store").chmod(0o500)
        with as_nobody(), pytest.raises(Misconfigured, match="writable"):
            await store.open()
        (tmp_path / "store").chmod(0o700)

    async def test_a_database_that_is_none_is_misconfigured(self, tmp_path: Path) -> None:
        (tmp_path / "objects.sqlite").write_bytes(b"no database at all" * 1000)
        with pytest.raises(Misconfigured, match="database"):
            await LocalObjectStore(tmp_path).open()

    async def test_data_of_a_newer_version_is_left_alone(self, tmp_path: Path) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "objects.sqlite")) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(Misconfigured, match="newer"):
            await LocalObjectStore(tmp_path).open()

    async def test_leftovers_of_a_crash_are_swept_at_start(self, footing: LocalFooting) -> None:
        await footing.store.put_stream(DATA, "k", pieces(b"kept"))
        await footing.store.close()
        orphan = leave_orphan(footing)
        (footing.folder / "tmp" / "half").write_bytes(b"written")
        store = await footing.reopen()
        assert await until(lambda: not orphan.exists() and not list(footing.folder.rglob("half")))
        assert await store.get(DATA, "k") == b"kept"

    async def test_the_sweep_at_start_spares_uploads_under_way(self, footing: LocalFooting) -> None:
        orphan = leave_orphan(footing)
        store = await footing.reopen()
        data = os.urandom(3 * CHUNK)

        async def slow() -> AsyncIterator[bytes]:
            yield data
            await until(lambda: not orphan.exists())

        await store.put_stream(DATA, "k", slow())
        assert await store.get(DATA, "k") == data

    async def test_folders_that_a_backup_left_out_since_they_were_empty_are_made_again(
        self, footing: LocalFooting
    ) -> None:
        await footing.store.put_stream(DATA, "gone", pieces(b"gone"))
        await footing.store.delete(DATA, "gone")
        await footing.store.close()
        for shard in (footing.folder / "objects").iterdir():
            shard.rmdir()
        store = await footing.reopen()
        await store.put_stream(DATA, "k", pieces(b"kept"))
        assert await (await footing.reopen()).get(DATA, "k") == b"kept"


def leave_orphan(footing: LocalFooting) -> Path:
    """A file that no object consists of."""
    orphan = footing.folder / "objects" / "ab" / ("0" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"nobody's")
    return orphan


class TestLife:
    async def test_a_closed_store_is_unavailable(self, tmp_path: Path) -> None:
        store = LocalObjectStore(tmp_path)
        await store.open()
        await store.close()
        await store.close()
        asked = [
            store.put(RECORDS, "k", b""),
            store.put_many(RECORDS, []),
            store.put_stream(RECORDS, "k", pieces(b"")),
            store.put_files(RECORDS, []),
            store.get(RECORDS, "k"),
            store.head(RECORDS, "k"),
            read(store, RECORDS, "k"),
            store.checkout(RECORDS, "k", tmp_path / "target"),
            store.delete(RECORDS, "k"),
            store.list(RECORDS),
            store.tags(RECORDS, "k"),
            store.set_tags(RECORDS, "k", {}),
            store.set_expiry(RECORDS, 1),
            store.sweep(),
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * len(asked)
        assert not await store.healthy()

    async def test_closing_waits_for_writes(self, footing: LocalFooting) -> None:
        small = [asyncio.create_task(footing.store.put(RECORDS, f"{n}", b"x")) for n in range(50)]
        large = [asyncio.create_task(footing.store.put(DATA, f"{n}", b"x" * CHUNK)) for n in range(5)]
        await asyncio.sleep(0)
        store = await footing.reopen()
        await asyncio.gather(*small, *large)
        assert (len(await keys(store, RECORDS)), len(await keys(store, DATA))) == (50, 5)

    async def test_closing_does_not_wait_for_ever(self, footing: LocalFooting, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "DRAIN", 0.05)
        go_on = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"x" * (3 * CHUNK)
            await go_on.wait()
            yield b"x" * (3 * CHUNK)

        upload = asyncio.create_task(footing.store.put_stream(DATA, "k", slow()))
        await until(lambda: len(footing.files()) == 1)
        await footing.store.close()
        go_on.set()
        with pytest.raises(StoreUnavailable):
            await upload
        assert footing.files() == []

    @pytest.mark.usefixtures("no_large_files")
    async def test_a_full_disk_makes_the_store_unavailable_and_is_survived(self, footing: LocalFooting) -> None:
        with pytest.raises(StoreUnavailable, match="room"):
            await footing.store.put(DATA, "large", b"x" * (2 * CHUNK))
        records = [footing.store.put(RECORDS, f"{n}", b"x" * 60_000) for n in range(100)]
        outcomes = await asyncio.gather(*records, return_exceptions=True)
        assert StoreUnavailable in {type(outcome) for outcome in outcomes}
        resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
        await footing.store.put(RECORDS, "after", b"room again")
        assert await footing.store.get(RECORDS, "after") == b"room again"
        assert await until(lambda: footing.files() == [])

    async def test_a_write_given_up_before_its_turn_is_not_made(self, store: LocalObjectStore) -> None:
        puts = [asyncio.create_task(store.put(RECORDS, f"{n}", b"")) for n in range(5)]
        for put in puts:
            put.cancel()
        await asyncio.wait(puts, timeout=60)
        assert await keys(store, RECORDS) == []


class TestCrash:
    async def test_what_was_acknowledged_survives_kill_9(self, footing: LocalFooting) -> None:
        await footing.store.close()
        acknowledged = await kill_while_writing(footing.folder, after=60)
        store = await footing.reopen()
        found = [hashlib.sha256(await store.get(*address)).hexdigest() for address in acknowledged]
        assert found == list(acknowledged.values())

    async def test_after_kill_9_every_object_is_whole_and_no_file_is_left_over(self, footing: LocalFooting) -> None:
        await footing.store.close()
        await kill_while_writing(footing.folder, after=30)
        store = await footing.reopen()
        objects = [item async for item in list_all(store, DATA)]
        assert [len(await store.get(DATA, item.key)) for item in objects] == [item.size for item in objects]
        assert await until(lambda: len(footing.files()) == len(objects))


class TestExpiry:
    async def test_tagged_objects_go_when_their_time_is_over(self, clocked: ClockedFooting) -> None:
        store = clocked.store
        await store.set_expiry(RECORDS, 7)
        await store.put(RECORDS, "goes", b"", tags=EXPIRING)
        await store.put(RECORDS, "stays", b"")
        found = []
        for later in (7 * DAY - 1, 2):
            clocked.time += later
            await store.sweep()  # What it counts, the store's own first sweep may have taken.
            found.append(await keys(store, RECORDS))
        assert found == [["goes", "stays"], ["stays"]]

    async def test_the_time_starts_anew_with_the_tag(self, clocked: ClockedFooting) -> None:
        store = clocked.store
        await store.set_expiry(DATA, 7)
        await store.put(DATA, "tagged late", b"")
        await store.put(DATA, "tagged again", b"", tags=EXPIRING)
        clocked.time += 5 * DAY
        await store.set_tags(DATA, "tagged late", EXPIRING)
        await store.set_tags(DATA, "tagged again", EXPIRING)
        assert await store.sweep(clocked.time + 6 * DAY) == 0
        assert await store.sweep(clocked.time + 8 * DAY) == 2

    async def test_the_time_starts_anew_with_new_bytes(self, clocked: ClockedFooting) -> None:
        await clocked.store.set_expiry(RECORDS, 7)
        await clocked.store.put(RECORDS, "k", b"1", tags=EXPIRING)
        clocked.time += 5 * DAY
        await clocked.store.put(RECORDS, "k", b"2", tags=EXPIRING)
        assert await clocked.store.sweep(clocked.time + 6 * DAY) == 0

    async def test_an_object_that_lost_its_tag_stays(self, clocked: ClockedFooting) -> None:
        await clocked.store.set_expiry(DATA, 7)
        await clocked.store.put(DATA, "k", b"", tags=EXPIRING)
        await clocked.store.set_tags(DATA, "k", {})
        assert await clocked.store.sweep(clocked.time + 100 * DAY) == 0

    async def test_an_expiry_outlives_a_restart_until_it_is_taken_back(self, clocked: ClockedFooting) -> None:
        await clocked.store.set_expiry(RECORDS, 7)
        await clocked.store.put(RECORDS, "k", b"", tags=EXPIRING)
        store = await clocked.reopen()
        await store.set_expiry(RECORDS, None)
        assert await store.sweep(clocked.time + 100 * DAY) == 0
        await store.set_expiry(RECORDS, 7)
        assert await store.sweep(clocked.time + 100 * DAY) == 1

    async def test_the_store_sweeps_by_itself(self, clocked: ClockedFooting) -> None:
        await clocked.store.set_expiry(DATA, 7)
        await clocked.store.put_stream(DATA, "k", pieces(b"x"), tags=EXPIRING)
        clocked.time += 8 * DAY
        await clocked.reopen()
        assert await until(lambda: clocked.files() == [])

    async def test_many_go_in_steps_and_their_files_with_them(self, clocked: ClockedFooting) -> None:
        await clocked.store.set_expiry(RECORDS, 1)
        for n in range(450):
            await clocked.store.put(RECORDS, f"{n}", b"", tags=EXPIRING)
        assert await clocked.store.sweep(clocked.time + 2 * DAY) == 450

    @pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf")])
    async def test_an_expiry_that_cannot_be_is_refused(self, store: LocalObjectStore, days: float) -> None:
        with pytest.raises(InvalidInput):
            await store.set_expiry(RECORDS, days)


class TestSignedUrls:
    async def test_an_upload_never_overwrites(self, store: LocalObjectStore) -> None:
        await store.put(DATA, "k", b"mine")
        async with httpx.AsyncClient() as client:
            response = await client.put(await store.presign("PUT", DATA, "k", expires=60), content=b"theirs")
        assert (response.status_code, response.json()["code"]) == (409, "precondition_failed")
        assert await store.get(DATA, "k") == b"mine"

    async def test_an_upload_expires_unless_somebody_keeps_it(self, store: LocalObjectStore) -> None:
        async with httpx.AsyncClient() as client:
            response = await client.put(await store.presign("PUT", DATA, "k", expires=60), content=b"x")
        assert await store.tags(DATA, "k") == EXPIRING
        assert response.headers["ETag"] == f'"{(await store.head(DATA, "k")).etag}"'

    async def test_an_upload_has_a_limit_whether_it_says_its_size_or_not(self, store: LocalObjectStore) -> None:
        data = b"x" * (LIMIT + 1)
        async with httpx.AsyncClient() as client:
            said = await client.put(await store.presign("PUT", DATA, "a", expires=60), content=data)
            unsaid = await client.put(await store.presign("PUT", DATA, "b", expires=60), content=pieces(data))
        assert (said.status_code, unsaid.status_code) == (413, 413)
        assert await keys(store, DATA) == []

    async def test_an_upload_that_breaks_off_stores_nothing(self, footing: LocalFooting) -> None:
        url = httpx.URL(await footing.store.presign("PUT", DATA, "k", expires=60))
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" % url.raw_path
        writer.write(head + b"x" * (3 * CHUNK))
        await writer.drain()
        await until(lambda: len(footing.files()) == 1)
        writer.close()
        assert await until(lambda: footing.files() == [])
        assert await keys(footing.store, DATA) == []

    async def test_an_expired_url_is_refused(self, clocked: ClockedFooting) -> None:
        await clocked.store.put(DATA, "k", b"")
        url = await clocked.store.presign("GET", DATA, "k", expires=60)
        clocked.time += 61
        async with httpx.AsyncClient() as client:
            response = await client.get(url)
        assert (response.status_code, response.json()["code"]) == (403, "signed_url_expired")
        assert response.headers["Content-Type"].startswith("application/problem+json")

    @pytest.mark.parametrize(
        ("old", "new"), [("signature=", "signature=0"), ("expires=", "expires=9"), ("method=GET&expires=", "e=")]
    )
    async def test_a_forged_url_is_refused(self, store: LocalObjectStore, old: str, new: str) -> None:
        await store.put(DATA, "k", b"")
        url = (await store.presign("GET", DATA, "k", expires=60)).replace(old, new)
        async with httpx.AsyncClient() as client:
            response = await client.get(url)
        assert (response.status_code, response.json()["code"]) == (403, "signed_url_invalid")

    async def test_what_is_not_there_is_not_found(self, store: LocalObjectStore) -> None:
        async with httpx.AsyncClient() as client:
            response = await client.get(await store.presign("GET", DATA, "k", expires=60))
        assert (response.status_code, response.json()["code"]) == (404, "object_not_found")

    async def test_head_tells_the_size_and_sends_nothing(self, store: LocalObjectStore) -> None:
        await store.put(DATA, "k", b"0123456789")
        async with httpx.AsyncClient() as client:
            response = await client.head(await store.presign("GET", DATA, "k", expires=60))
        assert (response.headers["Content-Length"], response.content) == ("10", b"")

    async def test_a_range_beyond_the_end_is_told(self, store: LocalObjectStore) -> None:
        await store.put(DATA, "k", b"0123456789")
        async with httpx.AsyncClient() as client:
            url = await store.presign("GET", DATA, "k", expires=60)
            response = await client.get(url, headers={"Range": "bytes=10-"})
        assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */10")

    async def test_a_range_of_an_older_version_gives_the_whole(self, store: LocalObjectStore) -> None:
        await store.put(DATA, "k", b"0123456789")
        async with httpx.AsyncClient() as client:
            url = await store.presign("GET", DATA, "k", expires=60)
            response = await client.get(url, headers={"Range": "bytes=2-4", "If-Range": '"older"'})
        assert (response.status_code, response.content) == (200, b"0123456789")

    async def test_without_an_address_nothing_is_signed(self, store: LocalObjectStore) -> None:
        store.public_url = None
        with pytest.raises(Misconfigured, match="public_url"):
            await store.presign("GET", DATA, "k", expires=60)


def resident() -> int:
    """Bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def kill_while_writing(folder: Path, *, after: int) -> dict[tuple[str, str], str]:
    """Lets a process write until it has acknowledged `after` objects, and kills it in the middle of more. Returns
    the digests of all it has acknowledged, by collection and key."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.store_writer", str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    lines: list[bytes] = []
    async with asyncio.timeout(60):
        while len(lines) < after and (line := await child.stdout.readline()):
            lines.append(line)
        child.send_signal(signal.SIGKILL)
        lines += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
    told = [line.decode().split() for line in lines if line.endswith(b"\n")]
    assert len(told) >= after
    return {(collection, key): digest for collection, key, digest in told}
