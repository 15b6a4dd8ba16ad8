"""Looking into files over real HTTP: what is in them, slices, and how few bytes are read for that."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from services.gateway.volumes.slices import Looking
from shared.files import COLLECTION, bytes_key, locate
from shared.hdf5 import reader
from shared.objects.base import FileUpload
from shared.objects.s3 import S3ObjectStore, S3Place
from shared.settings import Settings
from tests.contract.gateway_world import World, client_of, world_at
from tests.contract.s3_process import ONE_BUCKET
from tests.s3server import S3Server, new_name
from voxloom.errors import InvalidInput

Client = httpx.AsyncClient
Fill = Callable[[h5py.File], Any]

VOLUME = np.random.default_rng(1).integers(0, 60_000, (40, 64, 48)).astype(np.uint16)
BLOCK = 1 << 16
KIB = 1 << 10


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One for all: nothing here changes what another test sees."""
    async with world_at(tmp_path_factory.mktemp("world"), answer_timeout=5.0) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(world: World) -> AsyncIterator[Client]:
    async with client_of(world) as client:
        yield client


def made(fill: Fill) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        fill(opened)
    return file.getvalue()


async def upload(client: Client, fill: Fill) -> str:
    answer = await client.post("/api/v0/files", content=made(fill))
    return str(answer.raise_for_status().json()["file_id"])


def several(file: h5py.File) -> None:
    volume = file.create_dataset("deep/volume", data=VOLUME, chunks=(8, 16, 48), compression="gzip", shuffle=True)
    volume.attrs.update({"spacing": [0.5, 0.5, 2.0], "unit": "nm", "long": "x" * 5000, "nan": np.nan, "n": 3})
    file["image"] = VOLUME[0].astype(">f4")
    file["rgb"] = (VOLUME[:3] // 256).astype(np.uint8)
    file["flag"] = VOLUME[0] > 30_000
    file["complex"] = VOLUME[0].astype(np.complex64)
    file["line"] = VOLUME[0, 0]
    file["scalar"] = 7
    file["names"] = ["a", "b"]
    file["records"] = np.zeros((4, 4), [("a", "f4"), ("b", "i2")])
    file["empty"] = np.zeros((0, 4), np.float32)
    file["nothing"] = h5py.Empty("f4")
    file["nan"] = np.array([[np.nan, 1.0], [3.0, np.inf]])
    file["soft"] = h5py.SoftLink("/image")
    file["circle"] = h5py.SoftLink("/circle")


async def cut(client: Client, file_id: str, **query: Any) -> httpx.Response:
    return await client.get(f"/api/v1/files/{file_id}/slice", params=query)


async def array(client: Client, file_id: str, **query: Any) -> np.ndarray:
    answer = (await cut(client, file_id, format="npy", **query)).raise_for_status()
    values: np.ndarray = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return values


async def picture(client: Client, file_id: str, **query: Any) -> np.ndarray:
    answer = (await cut(client, file_id, **query)).raise_for_status()
    assert answer.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


WRONG = [
    ("dataset=nothing-there", "dataset", "There is no dataset"),
    ("dataset=deep", "dataset", "There is no dataset"),
    ("dataset=circle", "dataset", "leads in a circle"),
    ("dataset=../image", "dataset", "There is no dataset"),
    ("dataset=image/x", "dataset", "There is no dataset"),
    ("dataset=%00", "dataset", "There is no dataset"),
    ("dataset=", "dataset", "There is no dataset"),
    ("dataset=" + "x" * 9000, "dataset", "There is no dataset"),
    ("", "dataset", "name the one that is meant"),
    ("dataset=scalar", "dataset", "no axis"),
    ("dataset=nothing", "dataset", ""),
    ("dataset=line&index=0", "dataset", "one axis"),
    ("dataset=names&index=0", "dataset", "texts or records"),
    ("dataset=records", "dataset", "texts or records"),
    ("dataset=complex", "format", "format=npy"),
    ("dataset=deep/volume", "index", "give an `index`"),
    ("dataset=deep/volume&axis=0", "index", "needs an index"),
    ("dataset=deep/volume&axis=3&index=0", "axis", "from 0 to 2"),
    ("dataset=deep/volume&axis=-1&index=0", "axis", ""),
    ("dataset=deep/volume&index=-1", "index", ""),
    ("dataset=deep/volume&index=40", "index", "from 0 to 39"),
    ("dataset=deep/volume&index=99999999999999999999999", "index", ""),
    ("dataset=deep/volume&index=x", "index", ""),
    ("dataset=image&index=0", "format", "format=npy"),
    ("dataset=empty", "format", "format=npy"),
    ("dataset=image&format=gif", "format", ""),
    ("dataset=image&contrast=nice", "contrast", ""),
    ("dataset=image&low=nan", "low", ""),
    ("dataset=image&low=5&high=5", "low", "less than"),
]
"""Queries, where they are wrong, and what is said of that."""


class TestInfo:
    async def test_every_dataset_is_told_with_how_it_is_stored(self, client: Client) -> None:
        answer = await client.get(f"/api/v1/files/{await upload(client, several)}/info")
        found = {one["name"]: one for one in answer.raise_for_status().json()["datasets"]}
        volume = found["deep/volume"]
        assert (volume["shape"], volume["dtype"], volume["chunks"]) == ([40, 64, 48], "<u2", [8, 16, 48])
        assert (volume["compression"], volume["size_bytes"]) == (["shuffle", "gzip"], VOLUME.nbytes)
        assert volume["stored_bytes"] > 0
        assert volume["attributes"] == {"spacing": [0.5, 0.5, 2.0], "unit": "nm", "n": 3}
        assert (volume["attributes_left_out"], found["names"]["dtype"]) == (2, "str")
        assert found["soft"] == {**found["image"], "name": "soft"}

    async def test_statistics_are_there_or_why_they_are_not(self, client: Client) -> None:
        answer = await client.get(f"/api/v1/files/{await upload(client, several)}/info")
        found = {one["name"]: one for one in answer.json()["datasets"]}
        told = found["deep/volume"]["statistics"]
        assert (told["min"], told["max"]) == (VOLUME.min(), VOLUME.max())
        assert told["mean"] == pytest.approx(VOLUME.mean())
        assert found["nan"]["statistics"] == {"min": 1.0, "max": 3.0, "mean": 2.0}
        reasons = {name: found[name]["statistics_absent"] for name in ("names", "records", "complex", "empty")}
        assert reasons == {**dict.fromkeys(reasons, "its values are no real numbers"), "empty": "it is empty"}

    async def test_of_large_datasets_no_statistics_are_made_and_little_is_read(
        self, client: Client, world: World
    ) -> None:
        file_id = await upload(client, lambda file: file.create_dataset("x", (65, 1 << 20), "u1", chunks=(1, 1 << 20)))
        (told,) = (await client.get(f"/api/v1/files/{file_id}/info")).json()["datasets"]
        assert told["statistics"] is None
        assert "67108864 bytes" in told["statistics_absent"]

    async def test_who_has_it_already_is_told_so(self, client: Client, world: World) -> None:
        file_id = await upload(client, several)
        first = await client.get(f"/api/v1/files/{file_id}/info")
        again = await client.get(f"/api/v1/files/{file_id}/info", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "immutable" in first.headers["Cache-Control"]


class TestSlices:
    @pytest.mark.parametrize(("axis", "index"), [(0, 39), (1, 0), (2, 47)])
    async def test_an_array_is_the_very_values(self, client: Client, axis: int, index: int) -> None:
        file_id = await upload(client, several)
        found = await array(client, file_id, dataset="deep/volume", axis=axis, index=index)
        assert (found.dtype, np.array_equal(found, VOLUME.take(index, axis))) == (np.dtype("<u2"), True)

    async def test_the_byte_order_is_the_file_s(self, client: Client) -> None:
        found = await array(client, await upload(client, several), dataset="image")
        assert (found.dtype.str, np.array_equal(found, VOLUME[0])) == (">f4", True)

    async def test_a_picture_is_stretched_over_the_slice(self, client: Client) -> None:
        found = await picture(client, await upload(client, several), dataset="deep/volume", index=3)
        low, high = float(VOLUME[3].min()), float(VOLUME[3].max())
        assert np.array_equal(found, np.rint((VOLUME[3] - low) / (high - low) * 255))

    async def test_or_between_what_is_given(self, client: Client) -> None:
        file_id = await upload(client, several)
        found = await picture(client, file_id, dataset="deep/volume", index=3, low=1000, high=2000)
        assert np.array_equal(found, np.clip(np.rint((VOLUME[3] - 1000.0) / 1000 * 255), 0, 255))

    async def test_or_over_all_that_the_dtype_can_say(self, client: Client) -> None:
        found = await picture(client, await upload(client, several), dataset="deep/volume", index=3, contrast="dtype")
        assert np.array_equal(found, np.rint(VOLUME[3] / 65535 * 255))

    async def test_bytes_and_colours_are_shown_as_they_are(self, client: Client) -> None:
        file_id = await upload(client, several)
        assert np.array_equal(await picture(client, file_id, dataset="rgb"), np.moveaxis(VOLUME[:3] // 256, 0, -1))
        assert np.array_equal(await picture(client, file_id, dataset="rgb", index=1), VOLUME[1] // 256)
        assert np.array_equal(await picture(client, file_id, dataset="flag"), (VOLUME[0] > 30_000) * 255)

    async def test_the_only_dataset_needs_no_name(self, client: Client) -> None:
        file_id = await upload(client, lambda file: file.__setitem__("image", VOLUME[0]))
        assert np.array_equal(await array(client, file_id), VOLUME[0])

    async def test_every_name_of_a_dataset_will_do(self, client: Client) -> None:
        def linked(file: h5py.File) -> None:
            file["entry/detector/data"] = VOLUME[0]
            file["entry/hard"] = file["entry/detector/data"]
            file["entry/link"] = h5py.SoftLink("/entry/detector")
            file["data"] = h5py.SoftLink("entry/link/data")

        file_id = await upload(client, linked)
        for name in ("entry/detector/data", "entry/hard", "entry/link/data", "data", None):
            assert np.array_equal(await array(client, file_id, **({"dataset": name} if name else {})), VOLUME[0])

    async def test_a_virtual_dataset_is_put_together_from_the_same_file(self, client: Client) -> None:
        def virtual(file: h5py.File) -> None:
            file.create_dataset("raw/a", data=VOLUME[:2], chunks=(1, 64, 48), compression="gzip")
            file["raw/b"] = VOLUME[2:4]
            layout = h5py.VirtualLayout((4, 64, 48), VOLUME.dtype)
            layout[:2], layout[2:] = h5py.VirtualSource(file["raw/a"]), h5py.VirtualSource(file["raw/b"])
            file.create_virtual_dataset("whole", layout)

        file_id = await upload(client, virtual)
        assert np.array_equal(await array(client, file_id, dataset="whole", axis=1, index=5), VOLUME[:4, 5])

    async def test_chunks_that_were_never_written_are_zero(self, client: Client) -> None:
        file_id = await upload(client, lambda file: file.create_dataset("x", (9, 8, 8), "f4", chunks=(1, 8, 8)))
        assert np.array_equal(await array(client, file_id, index=2), np.zeros((8, 8)))

    async def test_what_cannot_be_is_told_with_where_it_is_wrong(self, client: Client) -> None:
        file_id = await upload(client, several)
        for query, where, said in WRONG:
            answer = await client.get(f"/api/v1/files/{file_id}/slice?{query}")
            assert (answer.status_code, answer.json()["code"]) == (422, "request_validation_error"), query[:80]
            assert answer.json()["details"]["errors"][0]["loc"] == [where]
            assert said in answer.json()["detail"]

    async def test_a_slice_that_is_too_large_is_told_the_limit(self, client: Client) -> None:
        file_id = await upload(client, lambda file: file.create_dataset("x", (1 << 14, 1 << 14), "u1", chunks=True))
        answer = await cut(client, file_id)
        assert (answer.status_code, "33554432" in answer.json()["detail"]) == (422, True)

    async def test_every_slice_has_a_tag_of_its_own(self, client: Client) -> None:
        file_id = await upload(client, several)
        one, other = [await cut(client, file_id, dataset="deep/volume", index=at) for at in (1, 2)]
        again = await client.get(one.request.url, headers={"If-None-Match": one.headers["ETag"]})
        assert (one.headers["ETag"] != other.headers["ETag"], again.status_code) == (True, 304)

    async def test_a_name_may_be_another_s_later_so_nobody_keeps_it(self, client: Client) -> None:
        url = (await client.get("/api/v1/files/scan/upload-url")).json()["url"]
        (await client.put(url, content=made(several))).raise_for_status()
        assert (await cut(client, "scan", dataset="image")).headers["Cache-Control"] == "private, no-cache"

    @pytest.mark.parametrize("what", ["info", "slice"])
    async def test_an_unknown_file_is_404(self, client: Client, what: str) -> None:
        assert (await client.get(f"/api/v1/files/none/{what}")).json()["code"] == "file_not_found"


class TestPlaces:
    async def test_nothing_is_left_where_a_file_was_looked_into(self, client: Client, world: World) -> None:
        await array(client, await upload(client, several), dataset="image")
        assert list(world.gateway.store.scratch.glob("look-*")) == []


WANTED = ("dataset", "axis", "index", "contrast", "low", "high")


class TestHostileFiles:
    """As a run could write them: what comes through an upload is inspected before."""

    async def refusal(self, client: Client, fill: Fill, what: str) -> httpx.Response:
        answer = await client.get(f"/api/v1/files/{await upload(client, fill)}/{what}")
        assert answer.status_code == 422
        return answer

    @pytest.mark.parametrize("what", ["info", "slice?dataset=x", "slice?dataset=x/image"])
    async def test_links_to_other_files_are_not_followed(self, client: Client, tmp_path: Path, what: str) -> None:
        with h5py.File(tmp_path / "secret.h5", "w") as file:
            file["image"] = VOLUME[0]

        def link(file: h5py.File) -> None:
            file["x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/image" if what.endswith("x") else "/")

        await self.refusal(client, link, what)

    @pytest.mark.parametrize("what", ["info", "slice?dataset=x"])
    async def test_data_in_other_files_is_not_read(self, client: Client, tmp_path: Path, what: str) -> None:
        (tmp_path / "secret").write_bytes(bytes(64))

        def refer(file: h5py.File) -> None:
            file.create_dataset("x", (8, 8), "u1", external=[(str(tmp_path / "secret"), 0, 64)])

        assert "in another file" in (await self.refusal(client, refer, what)).json()["detail"]

    @pytest.mark.parametrize("what", ["info", "slice?dataset=x"])
    async def test_virtual_datasets_are_not_put_together(self, client: Client, tmp_path: Path, what: str) -> None:
        layout = h5py.VirtualLayout((8, 8), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (8, 8))
        said = await self.refusal(client, lambda file: file.create_virtual_dataset("x", layout), what)
        assert "virtual" in said.json()["detail"]

    @pytest.mark.parametrize("what", ["info", "slice?dataset=x"])
    async def test_a_file_that_is_cut_off_is_refused_and_others_are_still_looked_into(
        self, client: Client, what: str
    ) -> None:
        whole = made(lambda file: file.create_dataset("x", data=VOLUME[0], chunks=(8, 8), compression="gzip"))
        broken = (await client.post("/api/v0/files", content=whole[: len(whole) // 2])).json()["file_id"]
        answer = await client.get(f"/api/v1/files/{broken}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_hdf5_file")
        good = await upload(client, several)
        assert (await cut(client, good, dataset="image")).status_code == 200

    async def test_chunks_that_unpack_to_gibibytes_are_not_unpacked(self, client: Client) -> None:
        def bomb(file: h5py.File) -> None:
            chunk = (1 << 10, 1 << 20)
            file.create_dataset("x", (1 << 10, 1 << 20, 4), "u1", chunks=(*chunk, 4), compression="gzip")

        answer = await self.refusal(client, bomb, "slice?dataset=x&axis=2&index=0")
        assert "chunks of" in answer.json()["detail"] or "values of" in answer.json()["detail"]

    async def test_a_reader_that_takes_too_long_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with world_at(tmp_path, inspect_timeout=0.2) as world, client_of(world) as client:
            script = tmp_path / "slow.py"
            script.write_text("import time; print('{\"ready\": true}', flush=True); time.sleep(600)")
            monkeypatch.setattr(reader, "__file__", str(script))
            answer = await cut(client, await upload(client, several), dataset="image")
            assert (answer.status_code, answer.json()["code"]) == (503, "answer_timeout")
            assert world.gateway._looking._readers._idle == []

    async def test_a_reader_that_dies_is_told_as_the_file_s_fault(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "dead.py"
        script.write_text("print('{\"ready\": true}', flush=True); input()")
        monkeypatch.setattr(reader, "__file__", str(script))
        async with world_at(tmp_path) as world, client_of(world) as client:
            answer = await cut(client, await upload(client, several), dataset="image")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_hdf5_file")

    async def test_a_reader_gets_no_bytes_beyond_its_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = tmp_path / "greedy.py"
        said = '{"ready": true}\\n{"read": [0, 99999999999]}'
        script.write_text(f"print('{said}', flush=True); input(); input()")
        monkeypatch.setattr(reader, "__file__", str(script))
        async with world_at(tmp_path) as world, client_of(world) as client:
            answer = await cut(client, await upload(client, several), dataset="image")
        assert "does not have" in answer.json()["detail"]


@pytest.mark.usefixtures("s3_keys")
class TestOnS3:
    @pytest_asyncio.fixture(loop_scope="module")
    async def store(self, s3_server: S3Server, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
        url = s3_server.url(ONE_BUCKET, name=f"{new_name()}all")
        store = S3ObjectStore(S3Place.from_url(url), tmp_path / "node")
        await store.open()
        yield store
        await store.close()

    @pytest_asyncio.fixture(loop_scope="module")
    async def looking(self, store: S3ObjectStore, tmp_path: Path) -> AsyncIterator[Looking]:
        looking = Looking(store, Settings(data=tmp_path, port=0))
        yield looking
        await looking.close()

    async def put(self, store: S3ObjectStore, data: np.ndarray, **layout: Any) -> None:
        path = store.scratch / "x.h5"
        await asyncio.to_thread(path.write_bytes, made(lambda file: file.create_dataset("x", data=data, **layout)))
        await store.put_files(COLLECTION, [FileUpload(bytes_key("x"), path)])

    async def cut(self, store: S3ObjectStore, looking: Looking, **wanted: Any) -> tuple[int, np.ndarray]:
        """How much is read for a slice, after the file's trees have been read for another one."""
        request = dict.fromkeys(("dataset", "axis", "contrast", "low", "high")) | {"format": "npy"} | wanted
        await looking.slice(await locate(store, "x"), {**request, "index": 0})
        before = looking.blocks.read_bytes
        raw = await looking.slice(await locate(store, "x"), request)
        return looking.blocks.read_bytes - before, np.load(io.BytesIO(raw))

    async def test_a_slice_reads_its_chunks_and_no_more(self, store: S3ObjectStore, looking: Looking) -> None:
        data = np.random.default_rng(2).integers(0, 256, (64, 512, 512), np.uint8)
        await self.put(store, data, chunks=(16, 128, 128))
        read, found = await self.cut(store, looking, index=40)
        assert np.array_equal(found, data[40])
        assert 0 < read <= 16 * (16 * 128 * 128 + 2 * BLOCK) < data.nbytes / 2

    @pytest.mark.parametrize(("axis", "at"), [(0, 6), (1, 600)])
    async def test_of_one_piece_only_the_runs_of_a_slice(
        self, store: S3ObjectStore, looking: Looking, axis: int, at: int
    ) -> None:
        data = np.random.default_rng(2).integers(0, 256, (8, 1024, 1024), np.uint8)
        await self.put(store, data)
        read, found = await self.cut(store, looking, axis=axis, index=at)
        assert np.array_equal(found, data.take(at, axis))
        assert 0 < read <= (1024 * KIB + 2 * BLOCK if axis == 0 else 8 * 2 * BLOCK)

    async def test_a_chunk_that_unpacks_to_too_little_is_refused(self, store: S3ObjectStore, looking: Looking) -> None:
        def short(file: h5py.File) -> None:
            dataset = file.create_dataset("x", (64, 64), "u1", chunks=(64, 64), compression="gzip")
            dataset.id.write_direct_chunk((0, 0), zlib.compress(b"0123456789"))

        path = store.scratch / "x.h5"
        await asyncio.to_thread(path.write_bytes, made(short))
        await store.put_files(COLLECTION, [FileUpload(bytes_key("x"), path)])
        with pytest.raises(InvalidInput, match="has 10 bytes where 4096 are declared"):
            await looking.slice(await locate(store, "x"), dict.fromkeys(WANTED) | {"format": "npy"})

    async def test_what_was_read_lately_is_not_read_again(self, store: S3ObjectStore, looking: Looking) -> None:
        await self.put(store, VOLUME, chunks=(8, 16, 48), compression="gzip")
        await self.cut(store, looking, index=3)
        read, _ = await self.cut(store, looking, index=3)
        assert read == 0
