"""Scrubbing: every flipped bit of every object is found, whether a server runs or not, and on S3 through the store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services import scrubbing
from shared.objects.base import FileUpload, Upload, list_all
from shared.objects.cloud.connection import body_of
from shared.objects.cloud.scrub import scrub as scrub_s3
from shared.objects.embedded.scrub import scrub
from shared.objects.local import LocalObjectStore
from shared.objects.s3 import S3ObjectStore, S3Place
from shared.objects.scrub import Scrubbed, State
from shared.platform import scrubbing as platform_scrubbing
from tests.contract.object_store_behaviour import DATA, RECORDS, flipped, pieces
from tests.given import Given
from tests.s3server import KEYS, S3Address, new_name
from tests.unit.memory_platform import MemoryStore
from voxloom.cli.program import app
from voxloom.errors import Misconfigured


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    """One with small and large objects of all kinds."""
    store = LocalObjectStore(tmp_path / "data" / "objects")
    await store.open()
    await store.put_stream(DATA, "files/upload", pieces(os.urandom(100_000)))
    await store.put_many(RECORDS, [Upload("record", os.urandom(1000)), Upload("empty", b"")])
    await store.put(RECORDS, "snapshot", os.urandom(100_000))
    yield store
    await store.close()


def lost(folder: Path) -> dict[str, State]:
    return {one.key: one.state for one in scrub(folder) if one.state.is_loss}


def flip_everything(folder: Path) -> None:
    for path in (folder / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(flipped(path.read_bytes()))
    with closing(sqlite3.connect(folder / "objects.sqlite")) as connection, connection:
        for row, body in connection.execute("SELECT id, body FROM objects WHERE length(body) > 0").fetchall():
            connection.execute("UPDATE objects SET body = ? WHERE id = ?", (flipped(body), row))


async def test_a_sound_store_has_no_losses_while_it_is_open(store: LocalObjectStore) -> None:
    found = list(scrub(store._folder))
    assert {one.key: one.state for one in found} == dict.fromkeys(
        ["files/upload", "record", "empty", "snapshot"], State.FINE
    )


@pytest.mark.parametrize("closed", [True, False])
async def test_a_flipped_bit_of_every_object_is_found(store: LocalObjectStore, closed: bool) -> None:
    if closed:
        await store.close()
    flip_everything(store._folder)
    assert lost(store._folder) == dict.fromkeys(["files/upload", "record", "snapshot"], State.DAMAGED)


async def test_files_that_are_gone_or_cut_off_are_found(store: LocalObjectStore) -> None:
    file, other = (path for path in (store._folder / "objects").rglob("*") if path.is_file())
    file.unlink()
    os.truncate(other, 10)
    assert sorted(lost(store._folder).values()) == [State.DAMAGED, State.MISSING]


async def test_an_object_of_an_older_version_is_told_of_and_can_be_given_a_digest(store: LocalObjectStore) -> None:
    # Given a file that was moved in, and has no digest yet
    path = store.scratch / "old"
    path.write_bytes(b"old")
    await store.put_files(DATA, [FileUpload("files/old", path)])
    await store.close()

    # When it is scrubbed, and given one
    states = [await _state_of(store._folder, "files/old", give=give) for give in (False, True, False)]

    # Then
    assert states == [State.UNKNOWN, State.GIVEN, State.FINE]


async def _state_of(folder: Path, key: str, *, give: bool) -> State:
    found: list[Scrubbed] = []
    await asyncio.to_thread(scrubbing.scrub, found.append, data=folder.parent, give=give)
    (state,) = (one.state for one in found if one.key == key)
    return state


async def test_digests_are_not_given_behind_the_back_of_a_running_server(store: LocalObjectStore) -> None:
    with pytest.raises(Misconfigured, match="Another process"):
        await _state_of(store._folder, "files/upload", give=True)


async def test_an_index_that_cannot_be_read_is_a_loss(store: LocalObjectStore) -> None:
    await store.close()
    (store._folder / "objects.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    (found,) = scrub(store._folder)
    assert (found.key, found.state) == ("", State.UNREADABLE)


def test_a_folder_without_a_store_is_misconfigured(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no object store in"):
        list(scrub(tmp_path))


async def test_the_command_names_what_is_damaged_and_ends_with_1(
    store: LocalObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["doctor", "--scrub", "--data", str(tmp_path / "data")]
    before = CliRunner().invoke(app, command)
    flip_everything(store._folder)

    after = CliRunner().invoke(app, command)

    assert (before.exit_code, after.exit_code) == (0, 1), before.output
    assert "4 fine" in before.output
    assert "damaged: data-store 'files/upload'" in after.output


# --- on S3 ------------------------------------------------------------------------------------------------


@pytest.fixture
async def remote(
    living_store: S3Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[S3ObjectStore]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    store = S3ObjectStore(S3Place.from_url(living_store.url("layout=bucket", name=f"{new_name()}all")), tmp_path)
    await store.open()
    yield store
    await store.close()


async def scrubbed(store: S3ObjectStore, *, give: bool = False) -> dict[str, Scrubbed]:
    return {one.key: one async for one in scrub_s3(store, give=give)}


async def test_on_s3_every_damaged_object_is_found(remote: S3ObjectStore, tmp_path: Path) -> None:
    # Given objects in one piece and in parts
    (tmp_path / "output").write_bytes(os.urandom(1000))
    await remote.put_files(DATA, [FileUpload("output", tmp_path / "output")])
    await remote.put_stream(DATA, "upload", pieces(os.urandom(9 << 20), 1 << 20))
    before = await scrubbed(remote)

    # When a bit of each flips, and their etags stay
    remote.stream = _flipping(remote)  # type: ignore[method-assign]
    after = await scrubbed(remote)

    # Then
    assert {one.state for one in before.values()} == {State.FINE}
    assert {key: one.state for key, one in after.items()} == dict.fromkeys(["output", "upload"], State.DAMAGED)


def _flipping(store: S3ObjectStore) -> Callable[..., AsyncIterator[bytes]]:
    real = store.stream

    async def stream(collection: str, key: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        first = True
        async for piece in real(collection, key, start=start, stop=stop):
            yield flipped(piece) if first else piece
            first = False

    return stream


async def test_on_s3_an_object_without_a_digest_can_be_given_one(remote: S3ObjectStore) -> None:
    # Given an object as an older version has written it
    await remote._now().connection.call("put_object", remote._spot(DATA, "old"), Body=body_of(b"old"))

    # When
    states = [(await scrubbed(remote, give=give))["old"].state for give in (False, True, False)]

    # Then
    assert states == [State.UNKNOWN, State.GIVEN, State.FINE]
    assert [item.key async for item in list_all(remote, DATA)] == ["old"]


def test_a_store_of_another_kind_is_scrubbed_through_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, found = MemoryStore(), list[Scrubbed]()
    sound, other = hashlib.sha256(b"sound").hexdigest(), hashlib.sha256(b"other").hexdigest()
    store.objects = {("asset-store", sound): b"sound", ("asset-store", other): b"damaged"}
    monkeypatch.setattr(platform_scrubbing, "make_store", lambda _settings: store)
    platform_scrubbing.scrub(Given(data=tmp_path, store="memory"), found.append, give=False)
    assert {one.key: one.state for one in found} == {sound: State.FINE, other: State.DAMAGED}
