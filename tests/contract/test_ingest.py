"""Uploads on their way to files, on the embedded bus and store."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from messages.base import Event
from messages.files import (
    FileCommitted,
    FileDeleted,
    FileDeleteRefused,
    FileDeleteRequested,
    FileRejected,
    FileUploaded,
)
from messages.runs import AlgorithmPin, Result, RunCompleted, RunFailed, RunStopped, Work
from messages.samples import SampleCreated
from services.ingest.holding import hold_files
from services.ingest.housekeeping import sweep_forgotten, sweep_late, sweep_uploads
from services.ingest.inspectors import Inspectors
from services.ingest.service import Ingest
from shared import files, samples
from shared.file_names import UPLOADS, upload_key
from shared.hdf5 import inspector
from shared.keeping import Keep, keep_file
from shared.objects.base import EXPIRING
from shared.records.fold import RunState, fold
from shared.records.store import RecordStore
from shared.service import Platform
from tests.contract.gateway_world import eventually
from tests.contract.platform_support import Heard, open_platform, running
from voxloom.errors import InvalidInput, NotFound, Unavailable
from voxloom.ids import new_id
from voxloom.models import SampleRecord, format_time, utc_now

METADATA = {"project": "default"}


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[tuple[Platform, Heard]]:
    async with open_platform(tmp_path / "data", inspect_timeout=10.0) as (platform, heard):
        yield platform, heard


@pytest.fixture
async def ingest(system: tuple[Platform, Heard]) -> AsyncIterator[Ingest]:
    async with running(Ingest, system[0]) as service:
        yield service


@pytest.fixture
def volume(tmp_path: Path) -> bytes:
    return made(tmp_path, lambda file: file.create_dataset("image", data=np.ones((4, 5), np.uint16)))


def made(folder: Path, fill: Callable[[h5py.File], Any]) -> bytes:
    with h5py.File(folder / "made.h5", "w") as file:
        fill(file)
    return (folder / "made.h5").read_bytes()


async def upload(platform: Platform, data: bytes, *, announce: bool = True) -> str:
    """Puts bytes as a gateway does."""
    file_id = new_id()
    info = await platform.store.put(files.COLLECTION, files.bytes_key(file_id), data, metadata=METADATA, tags=EXPIRING)
    if announce:
        await platform.bus.publish(FileUploaded(subject=file_id, size=info.size, etag=info.etag))
    return file_id


async def post(platform: Platform, run: str, attempt: int) -> str:
    """Posts one file as a worker does."""
    file_id = new_id()
    path = platform.store.scratch / file_id
    path.write_bytes(b"output")
    await files.post(platform.store, project="default", run=run, attempt=attempt, number=0, files=[(file_id, path)])
    return file_id


async def is_there(platform: Platform, file_id: str) -> bool:
    try:
        await files.locate(platform.store, file_id)
    except NotFound:
        return False
    return True


async def tags(platform: Platform, file_id: str) -> dict[str, str]:
    return await platform.store.tags(files.COLLECTION, files.bytes_key(file_id))


# --- uploads ----------------------------------------------------------------------------------------------


async def test_a_good_file_is_committed_with_what_is_in_it(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system

    file_id = await upload(platform, volume)
    committed = await heard.first(FileCommitted, subject=file_id)

    assert [dataset.model_dump() for dataset in committed.datasets] == [
        {"name": "image", "shape": [4, 5], "dtype": "<u2"}
    ]
    assert files.is_visible(await files.locate(platform.store, file_id), None)


async def test_a_bad_file_is_rejected_and_its_bytes_are_gone(system: tuple[Platform, Heard], ingest: Ingest) -> None:
    platform, heard = system

    file_id = await upload(platform, b"this is no HDF5")
    rejected = await heard.first(FileRejected, subject=file_id)

    assert rejected.error.code == "invalid_hdf5_file"
    assert not await is_there(platform, file_id)


async def test_an_upload_that_is_announced_twice_is_committed_alike(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    file_id = await upload(platform, volume)
    first = await heard.first(FileCommitted, subject=file_id)

    await platform.bus.publish(FileUploaded(subject=file_id, size=first.size, etag=first.etag))
    again = await heard.some(2, FileCommitted, subject=file_id)

    assert again[1].datasets == first.datasets


async def test_an_upload_whose_bytes_are_gone_is_rejected(system: tuple[Platform, Heard], ingest: Ingest) -> None:
    platform, heard = system

    await platform.bus.publish(FileUploaded(subject="gone", size=1, etag="x"))

    assert "not there any more" in (await heard.first(FileRejected, subject="gone")).error.message


async def test_bytes_that_were_replaced_wait_for_their_own_announcement(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    file_id = await upload(platform, volume, announce=False)

    await ingest.handle([FileUploaded(subject=file_id, size=1, etag="of earlier bytes")])

    assert (await is_there(platform, file_id), heard.of(FileCommitted, FileRejected)) == (True, [])


async def test_a_file_that_hangs_the_library_does_not_hold_up_others(
    tmp_path: Path, volume: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.hdf5.inspector.__file__", stand_in(tmp_path, "import time; time.sleep(600)"))
    inspectors = Inspectors(most=1, memory=2 << 30, timeout=0.3, limit=1 << 40)

    with pytest.raises(InvalidInput, match="took longer"):
        await inspectors.inspect(tmp_path / "made.h5")

    monkeypatch.undo()
    assert await inspectors.inspect(tmp_path / "made.h5")
    await inspectors.close()


def stand_in(folder: Path, on_request: str) -> str:
    """An inspector that does `on_request` with the first file."""
    script = folder / "stand_in.py"
    script.write_text(
        f"import sys\nprint('{json.dumps({'ready': True})}', flush=True)\nsys.stdin.readline()\n{on_request}"
    )
    return str(script)


async def test_a_file_that_crashes_the_library_is_refused(
    tmp_path: Path, volume: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr("shared.hdf5.inspector.__file__", stand_in(tmp_path, crash))
    inspectors = Inspectors(most=1, memory=2 << 30, timeout=10.0, limit=1 << 40)

    with pytest.raises(InvalidInput, match="crashes the HDF5 library"):
        await inspectors.inspect(tmp_path / "made.h5")


async def test_an_inspector_that_cannot_start_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.hdf5.inspector.__file__", str(tmp_path / "missing.py"))
    inspectors = Inspectors(most=1, memory=2 << 30, timeout=10.0, limit=1 << 40)

    with pytest.raises(Unavailable, match="ended at once"):
        await inspectors.inspect(tmp_path / "any.h5")


async def test_an_inspection_that_is_cancelled_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.hdf5.inspector.__file__", stand_in(tmp_path, "import time; time.sleep(600)"))
    inspectors = Inspectors(most=1, memory=2 << 30, timeout=60.0, limit=1 << 40)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inspectors.inspect(tmp_path / "any.h5"), 0.5)

    assert inspectors._helpers._idle == []


# --- deletes ----------------------------------------------------------------------------------------------


async def test_a_file_is_deleted_and_deleting_it_again_is_no_error(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    file_id = await upload(platform, volume)
    await heard.first(FileCommitted, subject=file_id)

    await platform.bus.publish(FileDeleteRequested(subject=file_id), FileDeleteRequested(subject=file_id))

    await heard.some(2, FileDeleted, subject=file_id)
    assert not await is_there(platform, file_id)


# --- ended runs -------------------------------------------------------------------------------------------


def ended(kind: type[RunCompleted | RunFailed | RunStopped], attempt: int, staged: int) -> Event:
    return kind(subject="run", attempt=attempt, epoch=1, result=Result(staged=staged))


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (ended(RunCompleted, 2, 1), [False, True]),
        (ended(RunCompleted, 1, 1), [True, False]),
        (ended(RunFailed, 2, 0), [False, False]),
        (ended(RunStopped, 1, 0), [False, False]),
    ],
)
async def test_only_the_files_of_the_attempt_that_completed_stay(
    system: tuple[Platform, Heard], ingest: Ingest, event: Event, kept: list[bool]
) -> None:
    platform, _ = system
    posted = [await post(platform, "run", 1), await post(platform, "run", 2)]

    await ingest.sweep([event])

    assert [await is_there(platform, file_id) for file_id in posted] == kept
    assert (await platform.store.list(files.COLLECTION, prefix="staged/")).items == []


# --- upkeep -----------------------------------------------------------------------------------------------


async def test_an_upload_that_was_never_announced_goes_after_a_day(
    system: tuple[Platform, Heard], volume: bytes
) -> None:
    platform, _ = system
    file_id = await upload(platform, volume, announce=False)

    early = await sweep_forgotten(platform.store, utc_now() + timedelta(hours=23))
    late = await sweep_forgotten(platform.store, utc_now() + timedelta(hours=25))

    assert (early, late, await is_there(platform, file_id)) == (0, 1, False)


async def test_committed_files_and_files_of_runs_are_not_forgotten(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    await heard.first(FileCommitted, subject=await upload(platform, volume))
    await post(platform, "run", 1)

    assert await sweep_forgotten(platform.store, utc_now() + timedelta(hours=25)) == 0


@pytest.mark.parametrize(("attempt", "kept"), [(1, True), (2, False)])
async def test_what_was_posted_after_the_end_of_a_run_goes_after_a_day(
    system: tuple[Platform, Heard], attempt: int, kept: bool
) -> None:
    platform, _ = system
    records = RecordStore(platform.store)
    await records.save_runs([fold(unfinished("run"), ended(RunCompleted, 1, 1))])
    late = await post(platform, "run", attempt)

    await sweep_late(platform.store, records, [], utc_now() + timedelta(hours=23))
    early = await is_there(platform, late)
    await sweep_late(platform.store, records, [], utc_now() + timedelta(hours=25))

    assert (early, await is_there(platform, late)) == (True, kept)


@pytest.mark.parametrize(("known", "notes"), [(["run"], 1), ([], 0)])
async def test_notes_of_posted_files_stay_as_long_as_their_run_is_known(
    system: tuple[Platform, Heard], known: list[str], notes: int
) -> None:
    platform, _ = system
    output = await post(platform, "run", 1)

    await sweep_late(platform.store, RecordStore(platform.store), known, utc_now() + timedelta(hours=25))

    assert len((await platform.store.list(files.COLLECTION, prefix="staged/")).items) == notes
    assert await is_there(platform, output)


def unfinished(run: str, *inputs: str) -> RunState:
    work = Work(
        algorithm=AlgorithmPin(algorithm_id="a", name="a", major="1", minor="0", module="m", assets="i"),
        input_dataset_ids=list(inputs),
        parameters={},
        args={},
        devices=["cpu"],
        session_token="s",
    )
    return RunState(run=run, work=work, submitted=utc_now())


async def test_files_of_a_long_run_do_not_expire_until_it_ends(system: tuple[Platform, Heard], volume: bytes) -> None:
    platform, _ = system
    given, output = await upload(platform, volume, announce=False), await post(platform, "run", 1)
    run, later = unfinished("run", given, "no file's id"), utc_now() + timedelta(hours=2)

    await hold_files(platform.store, [run], samples.KnownSamples(platform.store), later)
    held = [await tags(platform, given), await tags(platform, output)]
    await hold_files(platform.store, [], samples.KnownSamples(platform.store), later)

    assert held == [{}, {}]
    assert [await tags(platform, given), await tags(platform, output)] == [EXPIRING, EXPIRING]


async def test_a_file_that_two_long_runs_need_is_held_until_both_have_ended(
    system: tuple[Platform, Heard], volume: bytes
) -> None:
    platform, _ = system
    given, later = await upload(platform, volume, announce=False), utc_now() + timedelta(hours=2)
    await hold_files(
        platform.store,
        [unfinished("one", given), unfinished("two", given)],
        samples.KnownSamples(platform.store),
        later,
    )

    await hold_files(platform.store, [unfinished("two", given)], samples.KnownSamples(platform.store), later)

    assert await tags(platform, given) == {}


async def test_files_of_a_short_run_are_left_alone(system: tuple[Platform, Heard], volume: bytes) -> None:
    platform, _ = system
    given = await upload(platform, volume, announce=False)

    await hold_files(
        platform.store,
        [unfinished("run", given)],
        samples.KnownSamples(platform.store),
        utc_now() + timedelta(minutes=59),
    )

    assert await tags(platform, given) == EXPIRING


# --- what came through a URL ---


async def put_through_a_url(platform: Platform, name: str, data: bytes) -> None:
    key = upload_key("default", name)
    info = await platform.store.put(files.COLLECTION, key, data)
    await platform.bus.publish(FileUploaded(subject=name, size=info.size, etag=info.etag, staged=key))


async def test_a_good_one_moves_to_its_own_place_and_cannot_be_changed_any_more(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system

    await put_through_a_url(platform, "a name", volume)
    await heard.first(FileCommitted, subject="a name")
    await platform.store.put(files.COLLECTION, upload_key("default", "a name"), b"late")

    assert await platform.store.get(files.COLLECTION, files.bytes_key("a name")) == volume
    assert (await files.locate(platform.store, "a name")).committed


async def test_it_is_committed_to_all_who_have_asked_at_the_same_time(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    names = [f"name {number}" for number in range(30)]
    for name in names:
        info = await platform.store.put(files.COLLECTION, upload_key("default", name), volume)
        told = {"size": info.size, "etag": info.etag, "staged": upload_key("default", name)}
        await platform.bus.publish(*(FileUploaded(subject=name, **told) for _ in range(4)))

    answers = await heard.some(4 * len(names), FileCommitted, FileRejected)

    assert {type(one) for one in answers} == {FileCommitted}


async def test_what_another_project_has_staged_is_not_taken_in(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    key = upload_key("default", "@lab1/scan")
    info = await platform.store.put(files.COLLECTION, key, volume)

    told = {"project": "lab1", "size": info.size, "etag": info.etag}
    await platform.bus.publish(FileUploaded(subject="@lab1/scan", staged=key, **told))

    refused = await heard.first(FileRejected, subject="@lab1/scan")
    assert refused.error.retryable
    assert await platform.store.get(files.COLLECTION, key) == volume
    with pytest.raises(NotFound):
        await files.locate(platform.store, "@lab1/scan")


@pytest.mark.parametrize(
    ("metadata", "code", "retryable"),
    [
        ({"project": "default", "run": "r", "attempt": "1"}, "file_exists", False),
        ({"project": "lab1", "run": "r", "attempt": "1"}, "unavailable", True),
        ({"project": "lab1"}, "unavailable", True),
    ],
)
async def test_what_lies_under_a_name_already_is_never_replaced_through_a_url(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes, metadata: dict[str, str], code: str, retryable: bool
) -> None:
    # Given what another project has, or a run: what a run has made has no entry
    platform, heard = system
    theirs = new_id()
    await platform.store.put(files.COLLECTION, files.bytes_key(theirs), b"theirs", metadata=metadata)
    # When somebody puts a good file through a URL of that name
    await put_through_a_url(platform, theirs, volume)
    refused = await heard.first(FileRejected, subject=theirs)
    # Then it stays what it was, and whose it was
    found = await files.locate(platform.store, theirs)
    assert (refused.error.code, refused.error.retryable) == (code, retryable)
    assert (found.project, found.committed) == (metadata["project"], False)
    assert await platform.store.get(files.COLLECTION, files.bytes_key(theirs)) == b"theirs"


async def test_what_is_only_over_its_time_stays_where_somebody_keeps_it(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    kept = await upload(platform, volume)
    await heard.first(FileCommitted, subject=kept)
    await keep_file(
        platform.store, samples.KnownSamples(platform.store), kept, Keep(kept=True, project="default", time=utc_now())
    )

    await platform.bus.publish(FileDeleteRequested(subject=kept, expired=True))

    refused = await heard.first(FileDeleteRefused, subject=kept)
    assert (refused.sample_ids, (await files.locate(platform.store, kept)).committed) == ([], True)


async def _is_empty(platform: Platform) -> bool:
    return all(one.waiting == 0 for one in await platform.bus.stats() if one.name == "ingest")


async def test_what_is_said_of_other_objects_takes_none_of_them_away(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    # Given a file that is good
    platform, heard = system
    await put_through_a_url(platform, "a", volume)
    await heard.first(FileCommitted, subject="a")
    # When somebody says that it was put there as another, and that it is too large
    for odd in (files.bytes_key("a"), files.entry_key("a"), "x" * 5000):
        await platform.bus.publish(FileUploaded(subject="b", size=1, etag="e", staged=odd))
    await platform.bus.publish(FileUploaded(subject="a", size=1 << 62, etag="e"))
    await put_through_a_url(platform, "c", volume)
    await heard.first(FileCommitted, subject="c")
    # Then it stays
    await eventually(lambda: _is_empty(platform))
    assert (await files.locate(platform.store, "a")).committed
    assert await platform.store.get(files.COLLECTION, files.bytes_key("a")) == volume
    assert await platform.bus.dead_letters() == []


async def test_a_bad_one_is_refused_and_gone(system: tuple[Platform, Heard], ingest: Ingest) -> None:
    platform, heard = system

    await put_through_a_url(platform, "bad", b"no hdf5")
    await heard.first(FileRejected, subject="bad")

    assert not await is_there(platform, "bad")
    assert not (await platform.store.list(files.COLLECTION, prefix=UPLOADS)).items


async def test_what_is_put_later_changes_nothing_and_is_answered_all_the_same(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    for number, data in enumerate((volume, b"no hdf5"), start=1):
        await put_through_a_url(platform, "name", data)
        await heard.some(number, FileCommitted, subject="name")

    first, second = heard.of(FileCommitted)

    assert (first.etag, first.size) == (second.etag, second.size)
    assert await platform.store.get(files.COLLECTION, files.bytes_key("name")) == volume
    assert not (await platform.store.list(files.COLLECTION, prefix=UPLOADS)).items


async def test_what_nobody_uses_for_a_day_goes(system: tuple[Platform, Heard]) -> None:
    platform, _ = system
    await platform.store.put(files.COLLECTION, upload_key("lab1", "forgotten"), b"")

    removed = [await sweep_uploads(platform.store, utc_now() + timedelta(hours=hours)) for hours in (23, 25)]

    assert removed == [0, 1]


# --- samples ---


async def make_sample(platform: Platform, *file_ids: str) -> SampleRecord:
    sample = SampleRecord(sample_id=new_id(), files=[{"image": list(file_ids)}], time_created=format_time(utc_now()))
    await samples.save(platform.store, sample)
    await platform.bus.publish(SampleCreated(subject=sample.sample_id, tags=[], file_count=len(file_ids)))
    return sample


async def test_a_file_of_a_sample_is_deleted_only_after_the_sample(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, heard = system
    file_id = await upload(platform, volume, announce=False)
    sample = await make_sample(platform, file_id)

    await platform.bus.publish(FileDeleteRequested(subject=file_id))
    refused = await heard.first(FileDeleteRefused, subject=file_id)
    marks = (await platform.store.list(files.COLLECTION, prefix="deleting/")).items
    await samples.remove(platform.store, sample.sample_id)
    await platform.bus.publish(FileDeleteRequested(subject=file_id))
    await heard.first(FileDeleted, subject=file_id)

    assert (refused.sample_ids, marks) == ([sample.sample_id], [])
    assert not await is_there(platform, file_id)


async def test_files_of_a_sample_do_not_expire_until_no_sample_needs_them(
    system: tuple[Platform, Heard], ingest: Ingest, volume: bytes
) -> None:
    platform, _ = system
    file_id = await upload(platform, volume, announce=False)
    one, two = await make_sample(platform, file_id), await make_sample(platform, file_id)

    await eventually(lambda: has_tags(platform, file_id, {}))
    await samples.remove(platform.store, one.sample_id)
    await hold_files(platform.store, [], samples.KnownSamples(platform.store), utc_now())
    still_needed = await tags(platform, file_id)
    await samples.remove(platform.store, two.sample_id)
    await hold_files(platform.store, [], samples.KnownSamples(platform.store), utc_now())

    assert (still_needed, await tags(platform, file_id)) == ({}, EXPIRING)
    assert one.sample_id != two.sample_id


async def has_tags(platform: Platform, file_id: str, wanted: dict[str, str]) -> bool:
    return await tags(platform, file_id) == wanted


def test_the_inspector_imports_nothing_of_the_server_s() -> None:
    """It runs by itself, where `services` and `shared` cannot be imported."""
    tree = ast.parse(Path(inspector.__file__).read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert imported & {"messages", "shared", "services"} == set()
