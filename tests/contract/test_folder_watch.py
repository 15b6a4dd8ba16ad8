"""A data folder that is moved, deleted or replaced under a running server, and a clock that is wrong at a start."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from messages.wire import Message
from shared.bus.local import LocalBus
from shared.objects.base import EXPIRING
from shared.objects.cloud import expiry
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.quarantine import KEEP_SECS, Quarantine
from shared.objects.local import LocalObjectStore
from shared.objects.s3 import S3ObjectStore, S3Place
from shared.ops import platform_faults
from shared.sealed.watch import FOLDER_GONE
from shared.service import Platform
from shared.settings import Settings
from tests.contract.object_store_behaviour import DATA, RECORDS, pieces
from tests.polling import pauses
from tests.s3server import S3Server, new_name
from voxloom.errors import BusUnavailable, Misconfigured, StoreUnavailable

DAY = 86_400.0
WALL = 1_700_000_000.0
MESSAGE = Message(("a.b",), {}, b"x")


class Clocked:
    """A store whose clocks the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall = WALL
        self.running = 0.0

    async def start(self) -> LocalObjectStore:
        store = LocalObjectStore(self.folder, clock=lambda: self.wall, monotonic=lambda: self.running)
        await store.open()
        return store


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    data = tmp_path / "data"
    bus, store = LocalBus(data / "bus"), LocalObjectStore(data / "objects")
    await bus.open()
    await store.open()
    yield Platform(bus, store, Settings(data=data))
    await bus.close()
    await store.close()


def replace_files(data: Path) -> None:
    """By copies of the same bytes: other files all the same."""
    shutil.copytree(data, data.with_name("copy"))
    shutil.move(data, data.with_name("before"))
    shutil.move(data.with_name("copy"), data)


def replace_databases(data: Path) -> None:
    for path in [*data.glob("*/*.sqlite")]:
        shutil.copyfile(path, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)


HARMS: dict[str, Callable[[Path], object]] = {
    "renamed": lambda data: data.rename(data.with_name("elsewhere")),
    "deleted": shutil.rmtree,
    "replaced": replace_files,
    "its databases replaced": replace_databases,
}


@pytest.mark.parametrize("harm", HARMS)
async def test_nothing_is_taken_any_more_once_the_folder_is_gone(platform: Platform, harm: str) -> None:
    await platform.store.put(RECORDS, "before", b"x")
    HARMS[harm](platform.settings.data)
    with pytest.raises(StoreUnavailable, match="data folder"):
        await platform.store.put(RECORDS, "after", b"x")
    with pytest.raises(StoreUnavailable, match="data folder"):
        await platform.store.put_stream(DATA, "after", pieces(b"x"))
    with pytest.raises(BusUnavailable, match="data folder"):
        await platform.bus.publish_message(MESSAGE)


@pytest.mark.parametrize("harm", HARMS)
async def test_the_readiness_says_that_the_folder_is_gone(platform: Platform, harm: str) -> None:
    assert await platform_faults(platform) == []
    HARMS[harm](platform.settings.data)
    assert FOLDER_GONE in await platform_faults(platform)


async def test_a_folder_that_comes_back_is_used_again(platform: Platform) -> None:
    data = platform.settings.data
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(StoreUnavailable):
        await platform.store.put(RECORDS, "k", b"x")
    data.with_name("elsewhere").rename(data)
    await platform.store.put(RECORDS, "k", b"back")
    await platform.bus.publish_message(MESSAGE)
    assert await platform_faults(platform) == []


async def test_a_store_touches_nothing_in_the_folder_that_took_the_place_of_its_own(tmp_path: Path) -> None:
    """Which may be a copy of a running server's: its log is a part of it, and goes when it is opened and closed."""
    clocked = Clocked(tmp_path / "objects")
    store = await clocked.start()
    await store.put(RECORDS, "k", b"x" * 3000)
    replace_files(clocked.folder)
    before = {path: path.stat().st_ino for path in clocked.folder.rglob("*")}
    clocked.running += 3 * DAY
    await asyncio.gather(*(store.list(RECORDS) for _ in range(8)), return_exceptions=True)  # In every reading thread.
    await store.close()
    assert {path: path.stat().st_ino for path in clocked.folder.rglob("*")} == before
    again = await clocked.start()
    assert await again.get(RECORDS, "k") == b"x" * 3000
    await again.close()


async def test_a_clock_far_ahead_at_a_start_deletes_nothing(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    store = await clocked.start()
    await store.set_expiry(RECORDS, 7)
    await store.put(RECORDS, "k", b"x", tags=EXPIRING)
    await store.close()
    clocked.wall += 400 * DAY
    store = await clocked.start()
    await store.sweep()
    assert [one.key for one in (await store.list(RECORDS)).items] == ["k"]
    assert (await store.expiry_clock()).now() == pytest.approx(WALL + DAY)
    await store.close()


async def test_things_expire_while_a_server_runs_whatever_its_clock_says(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    store = await clocked.start()
    await store.set_expiry(RECORDS, 7)
    await store.put(RECORDS, "k", b"x", tags=EXPIRING)
    clocked.wall -= 400 * DAY
    clocked.running += 7 * DAY + 1
    await store.sweep()  # Its own first sweep may have come before.
    assert (await store.list(RECORDS)).items == []
    await store.close()


async def test_the_clock_of_expiry_of_a_system_on_s3_moves_by_a_day_at_a_start(
    s3_server: S3Server, s3_keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = S3Place.from_url(s3_server.url("layout=bucket", name=f"{new_name()}all/folder"))
    shown = []
    for wall in (WALL, WALL + 400 * DAY):
        store = S3ObjectStore(place, tmp_path)
        await store.open()
        monkeypatch.setattr(expiry, "time", SimpleNamespace(time=lambda wall=wall: wall))
        shown.append((await store.expiry_clock()).now())
        await store.keep_expiry_clock()
        await store.close()
    assert shown[1] - shown[0] == pytest.approx(DAY, abs=60)


def leave_orphan(folder: Path) -> str:
    (folder / "objects" / "ab").mkdir(parents=True, exist_ok=True)
    (folder / "objects" / "ab" / ("0" * 32)).write_bytes(b"nobody's")
    return "ab/" + "0" * 32


async def test_a_start_sets_aside_what_nothing_names(tmp_path: Path) -> None:
    leave_orphan(tmp_path)
    store = LocalObjectStore(tmp_path)
    with pytest.raises(Misconfigured, match=r"objects\.sqlite is missing"):
        await store.open()
    shutil.rmtree(tmp_path / "objects")
    await store.open()
    await store.close()
    file = leave_orphan(tmp_path)
    await store.open()
    for pause in pauses():
        if found := [one.file for one in Quarantine(tmp_path).files()]:
            break
        await asyncio.sleep(pause)
    await store.close()
    assert found == [file]


async def test_a_file_whose_object_is_deleted_meanwhile_does_not_keep_the_others_from_being_set_aside(
    tmp_path: Path,
) -> None:
    blobs, quarantine = Blobs(tmp_path), Quarantine(tmp_path)
    blobs.prepare()
    assert quarantine.take(blobs, ["ab/" + "1" * 32, leave_orphan(tmp_path)], WALL) == 1
    assert [one.file for one in quarantine.files()] == ["ab/" + "0" * 32]


async def test_what_was_set_aside_goes_after_two_days_unless_something_names_it(tmp_path: Path) -> None:
    blobs, quarantine = Blobs(tmp_path), Quarantine(tmp_path)
    blobs.prepare()
    quarantine.take(blobs, [leave_orphan(tmp_path)], WALL)
    assert quarantine.clear(lambda _: set(), WALL + KEEP_SECS - 1) == 0
    assert quarantine.clear(set, WALL + KEEP_SECS + 1) == 0
    assert quarantine.clear(lambda _: set(), WALL + KEEP_SECS + 1) == 1


async def test_a_file_that_the_index_knows_after_all_is_put_back(tmp_path: Path) -> None:
    clocked = Clocked(tmp_path)
    store = await clocked.start()
    await store.put_stream(DATA, "k", pieces(b"kept"))
    await store.close()
    (path,) = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    aside = tmp_path / "quarantine" / "1700000000" / f"{path.parent.name}-{path.name}"
    aside.parent.mkdir(parents=True)
    path.rename(aside)
    store = await clocked.start()
    assert await store.get(DATA, "k") == b"kept"
    await store.close()
