"""What is kept does not expire, on both stores, whoever else sets tags at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.ingest.holding import hold_files
from shared import files, keeping
from shared.keeping import FILES, RUNS, Keep, KeptRun
from shared.objects.base import EXPIRING, ObjectStore
from shared.objects.local import LocalObjectStore
from shared.objects.s3 import S3ObjectStore, S3Place
from shared.samples import KnownSamples, remove, save
from tests.s3server import S3Server, new_name
from voxloom.errors import NotFound
from voxloom.models import SampleRecord, format_time, utc_now

pytestmark = pytest.mark.usefixtures("s3_keys")


@pytest.fixture(params=["local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made: ObjectStore = LocalObjectStore(tmp_path / "store")
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        made = S3ObjectStore(S3Place.from_url(server.url("layout=bucket", name=f"{new_name()}all/folder")), tmp_path)
    await made.open()
    yield made
    await made.close()


async def put_file(store: ObjectStore, file_id: str, **metadata: str) -> str:
    metadata = {"project": "default", **metadata}
    await store.put(files.COLLECTION, files.bytes_key(file_id), b"bytes", metadata=metadata, tags=EXPIRING)
    return file_id


async def expires(store: ObjectStore, file_id: str) -> bool:
    return await store.tags(files.COLLECTION, files.bytes_key(file_id)) == EXPIRING


def note(*, kept: bool) -> Keep:
    return Keep(kept=kept, project="default", time=utc_now())


def run_note(*outputs: str, kept: bool) -> KeptRun:
    return KeptRun(kept=kept, project="default", time=utc_now(), files=list(outputs))


def sample_of(*file_ids: str) -> SampleRecord:
    return SampleRecord(sample_id="s", files=[{"image": list(file_ids)}], tags=[], time_created=format_time(utc_now()))


async def test_what_is_kept_does_not_expire_until_it_is_let_go(store: ObjectStore) -> None:
    file = await put_file(store, "a")
    await keeping.keep_file(store, KnownSamples(store), file, note(kept=True))
    assert (await expires(store, file), await keeping.kept_among(store, [file])) == (False, {file})
    await keeping.release_file(store, KnownSamples(store), file, note(kept=False))
    assert (await expires(store, file), await keeping.kept_among(store, [file])) == (True, set())


async def test_what_is_gone_is_not_kept_by_half(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        await keeping.keep_file(store, KnownSamples(store), "gone", note(kept=True))
    assert [one async for one in keeping.notes(store, FILES)] == []


async def test_what_a_sample_or_a_kept_run_holds_stays_when_the_file_is_let_go(store: ObjectStore) -> None:
    of_sample, of_run = await put_file(store, "a"), await put_file(store, "b", run="r", attempt="1")
    await save(store, sample_of(of_sample))
    await hold_files(store, [], KnownSamples(store), utc_now())
    await keeping.write_run(store, KnownSamples(store), "r", run_note(of_run, kept=True))
    for file in (of_sample, of_run):
        await keeping.keep_file(store, KnownSamples(store), file, note(kept=True))
        await keeping.release_file(store, KnownSamples(store), file, note(kept=False))
    assert [await expires(store, file) for file in (of_sample, of_run)] == [False, False]


async def test_a_sample_that_goes_does_not_take_what_is_kept(store: ObjectStore) -> None:
    file = await put_file(store, "a")
    sample = sample_of(file)
    await save(store, sample)
    await hold_files(store, [], KnownSamples(store), utc_now())
    await remove(store, sample.sample_id)
    await keeping.keep_file(store, KnownSamples(store), file, note(kept=True))
    await hold_files(store, [], KnownSamples(store), utc_now())
    assert not await expires(store, file)


async def test_a_run_that_is_let_go_leaves_the_output_that_is_kept_by_itself(store: ObjectStore) -> None:
    one, other = [await put_file(store, name, run="r", attempt="1") for name in ("a", "b")]
    await keeping.write_run(store, KnownSamples(store), "r", run_note(one, other, kept=True))
    await keeping.keep_file(store, KnownSamples(store), one, note(kept=True))
    await keeping.write_run(store, KnownSamples(store), "r", run_note(one, other, kept=False))
    assert [await expires(store, file) for file in (one, other)] == [False, True]


async def test_upkeep_does_what_a_gateway_that_died_has_left_undone(store: ObjectStore) -> None:
    # Given notes whose writers have died before they took the tags
    file, output = await put_file(store, "a"), await put_file(store, "b", run="r", attempt="1")
    await store.put(files.COLLECTION, FILES + file, note(kept=True).model_dump_json().encode())
    await store.put(files.COLLECTION, RUNS + "r", run_note(output, kept=True).model_dump_json().encode())
    await keeping.restore(store, KnownSamples(store))
    assert [await expires(store, one) for one in (file, output)] == [False, False]


async def test_a_note_that_cannot_be_read_keeps(store: ObjectStore) -> None:
    file = await put_file(store, "a")
    await store.put(files.COLLECTION, FILES + file, b'{"of": "a newer version"}')
    await keeping.restore(store, KnownSamples(store))
    assert not await expires(store, file)


@pytest.mark.parametrize("last", [True, False])
async def test_of_many_at_the_same_time_the_last_word_holds(store: ObjectStore, last: bool) -> None:
    file = await put_file(store, "a")
    await asyncio.gather(
        *(keeping.keep_file(store, KnownSamples(store), file, note(kept=True)) for _ in range(3)),
        *(keeping.release_file(store, KnownSamples(store), file, note(kept=False)) for _ in range(3)),
        hold_files(store, [], KnownSamples(store), utc_now()),
        return_exceptions=True,
    )
    act = keeping.keep_file if last else keeping.release_file
    await act(store, KnownSamples(store), file, note(kept=last))
    assert await expires(store, file) is not last


async def test_upkeep_lets_go_what_a_gateway_that_died_has_said_is_let_go(store: ObjectStore) -> None:
    file, output = await put_file(store, "a"), await put_file(store, "b", run="r", attempt="1")
    await keeping.keep_file(store, KnownSamples(store), file, note(kept=True))
    await keeping.write_run(store, KnownSamples(store), "r", run_note(output, kept=True))
    await store.put(files.COLLECTION, FILES + file, note(kept=False).model_dump_json().encode())
    await store.put(files.COLLECTION, RUNS + "r", run_note(output, kept=False).model_dump_json().encode())
    await keeping.restore(store, KnownSamples(store))
    assert [await expires(store, one) for one in (file, output)] == [True, True]


async def test_the_outputs_of_a_kept_run_that_is_deleted_expire_again(store: ObjectStore) -> None:
    output = await put_file(store, "b", run="r", attempt="1")
    await keeping.write_run(store, KnownSamples(store), "r", run_note(output, kept=True))
    for _ in range(2):  # The recorder may begin anew.
        await keeping.end_run(store, "r")
    await keeping.restore(store, KnownSamples(store))
    assert await expires(store, output)
    assert not await keeping.is_run_kept(store, "r")
