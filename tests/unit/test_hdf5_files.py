"""Names, texts and marks of HDF5 files as instruments and old programs write them, for all who read."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from h5py import h5d, h5s, h5t

from shared.hdf5 import contents
from shared.hdf5.inspector import answer
from tests.unit.hdf5_chunks import LIMIT, downloaded, inspected, opened, ran, sliced
from voxloom import imagefiles
from voxloom.client._inputs import Wanted, WholeFile, plan_inputs
from voxloom.errors import InvalidInput
from voxloom.hdf5 import links, signatures
from voxloom.hdf5.refusals import Refused
from voxloom.runner import hdf5
from voxloom.runner.exceptions import InvalidDataset
from voxloom.testing import LocalLink

IMAGE = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24)
Fill = Callable[[h5py.File], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.nxs"


class TestText:
    """`µ` in UTF-8 and in Latin-1, in datasets that are declared ASCII."""

    @pytest.fixture
    def path(self, path: Path) -> Path:
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=IMAGE)
            file.create_dataset("unit", data=np.array("µm".encode(), "S3"))
            file.create_dataset("old", data=np.array(["µm".encode("latin-1"), b"nm"], "S2"))
            ascii_text = h5py.string_dtype("ascii")
            file.create_dataset("any", (2,), ascii_text)[...] = np.array(["µ".encode(), b"\xb5"], object)
        return path

    def test_the_runner_reads_utf_8_and_warns_of_what_is_not(self, path: Path) -> None:
        said: list[str] = []
        found = hdf5.read(path, ["unit", "old", "any"], warn=said.append)
        assert found == {"unit": "µm", "old": ["µm", "nm"], "any": ["µ", "µ"]}
        assert [text.split(" is not UTF-8")[0] for text in said] == ["The text in /old", "The text in /any"]

    def test_a_run_has_the_warning_in_its_log(self, path: Path, tmp_path: Path) -> None:
        from voxloom.runner import TaskHandler
        from voxloom.runner.io_schemas import DataSchema

        class Labels(DataSchema):
            old: list[str]

        link = LocalLink(tmp_path)
        assert TaskHandler(link).fetch_data([link.add_path(path)], Labels) == [{"old": ["µm", "nm"]}]
        assert [(level, "Latin-1" in text) for level, text in link.lines] == [("WARNING", True)]

    def test_so_does_the_client(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            found = imagefiles.read_datasets(path)
        assert (found["unit"], found["old"], found["any"]) == ("µm", ["µm", "nm"], ["µ", "µ"])
        assert len(caplog.records) == 2

    def test_an_upload_of_it_is_good(self, path: Path) -> None:
        assert "datasets" in answer(str(path), LIMIT)


def nexus(file: h5py.File) -> None:
    file["entry/instrument/detector/data"] = IMAGE
    file["entry/hard"] = file["entry/instrument/detector/data"]
    file["entry/detector"] = h5py.SoftLink("instrument/detector")
    file["image"] = h5py.SoftLink("/entry/detector/data")


class TestNames:
    @pytest.mark.parametrize("read", [ran, sliced])
    def test_a_soft_link_leads_to_its_dataset(self, path: Path, read: Callable[[Path], Any]) -> None:
        with h5py.File(path, "w") as file:
            nexus(file)
        np.testing.assert_array_equal(read(path), IMAGE)

    @pytest.mark.parametrize(
        "name", ["entry/instrument/detector/data", "entry/hard", "/entry/detector/data", "image", None]
    )
    def test_an_image_is_opened_by_any_of_its_names(self, path: Path, name: str | None) -> None:
        with h5py.File(path, "w") as file:
            nexus(file)
        np.testing.assert_array_equal(imagefiles.read_image(path, name), IMAGE)

    def test_a_file_whose_image_is_a_link_is_sent_whole(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            nexus(file)
        with plan_inputs([path], Wanted("Image2Image")) as plan:
            assert plan.uploads == [WholeFile(path)]

    def test_a_dataset_with_several_names_is_downloaded_once(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            nexus(file)
        assert list(imagefiles.read_datasets(path)) == ["entry/hard"]

    @pytest.mark.parametrize(
        ("link", "said"),
        [(h5py.SoftLink("/image"), "in a circle"), (h5py.ExternalLink("other.h5", "/image"), "to another file")],
    )
    def test_a_link_in_a_circle_or_out_of_the_file_is_told(self, path: Path, link: Any, said: str) -> None:
        with h5py.File(path.with_name("other.h5"), "w") as other:
            other["image"] = IMAGE
        with h5py.File(path, "w") as file:
            file["image"] = link
        with pytest.raises(InvalidDataset, match=said):
            hdf5.read(path, ["image"])
        with pytest.raises(InvalidInput, match=said):
            imagefiles.read_image(path, "image")

    def test_many_links_one_after_the_other_are_too_many(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["0"] = IMAGE
            for number in range(20):
                file[str(number + 1)] = h5py.SoftLink(f"/{number}")
            assert links.find_dataset(file.id, f"{links.MOST_JUMPS}") is not None
            with pytest.raises(Refused, match="over too many others"):
                links.find_dataset(file.id, "20")

    def test_a_name_that_is_not_utf_8_hides_nothing_of_the_file(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file[b"\xb5m"], file["image"] = IMAGE + 1, IMAGE
            found = contents.describe(file.id, path.stat().st_size, LIMIT)["datasets"]
        assert [(one["name"], one["statistics"]["min"]) for one in found] == [("image", 0), ("\ufffdm", 1)]

    @pytest.mark.parametrize("name", ["", "/", "none", "entry", "image/x", "entry/none/x", "a\0b", "\ud800"])
    def test_what_is_no_dataset_is_none(self, path: Path, name: str) -> None:
        with h5py.File(path, "w") as file:
            nexus(file)
            assert links.find_dataset(file.id, name) is None


def test_numbers_that_numpy_does_not_have_are_refused_with_a_sentence(path: Path) -> None:
    three_bytes = h5t.STD_U32LE.copy()
    three_bytes.set_size(3)
    with h5py.File(path, "w") as file:
        h5d.create(file.id, b"image", three_bytes, h5s.create_simple((16, 24)))
        h5d.create(file.id, b"time", h5t.UNIX_D32LE, h5s.create_simple((16, 24)))
    for read in (hdf5.read, imagefiles.read_datasets, lambda path: imagefiles.read_image(path, "image")):
        with pytest.raises((InvalidDataset, InvalidInput), match="a type that numpy does not know"):
            read(path)
    with pytest.raises(InvalidInput, match="a type that numpy does not know"), ExitStack() as opened:
        opened.enter_context(plan_inputs([path], Wanted("Image2Image", "image", schema="ImageSchema")))


def test_a_text_that_was_never_given_is_read_by_all(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["note"] = h5py.Empty(h5py.string_dtype())
    assert hdf5.read(path) == {"note": None}
    assert isinstance(imagefiles.read_datasets(path)["note"], h5py.Empty)


class TestWhatItIs:
    @pytest.mark.parametrize("name", ["scan.nxs", "scan.ims", "scan.mat", "scan.hdf", "scan", "scan.tif"])
    def test_hdf5_is_read_whatever_its_name(self, tmp_path: Path, name: str) -> None:
        with h5py.File(tmp_path / name, "w", userblock_size=512 if name.endswith("mat") else 0) as file:
            file["image"] = IMAGE
        inspected(tmp_path / name)
        for read in (opened, downloaded):
            np.testing.assert_array_equal(read(tmp_path / name), IMAGE)

    def test_so_are_tiff_and_npy(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.h5", IMAGE)
        with (tmp_path / "b.dat").open("wb") as file:
            np.save(file, IMAGE)
        np.testing.assert_array_equal(imagefiles.read_image(tmp_path / "a.h5"), IMAGE)
        np.testing.assert_array_equal(imagefiles.read_image(tmp_path / "b.dat"), IMAGE)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"PK\x03\x04" + bytes(100), r"zip archive, as \.npz files are: save each array as \.npy"),
            (b"MATLAB 5.0 MAT-file" + bytes(600), "save it in MATLAB with `-v7.3`"),
            (b"\x0e\x03\x13\x01" + bytes(600), "convert it with `h4toh5`"),
            (b"CDF\x01" + bytes(600), "nccopy -k nc4"),
            (b"\x1f\x8b" + bytes(600), "unpack it first"),
            (bytes(128) + b"DICM" + bytes(600), "DICOM"),
        ],
    )
    def test_what_cannot_be_read_is_told_with_what_to_do(self, tmp_path: Path, content: bytes, said: str) -> None:
        (tmp_path / "scan.mat").write_bytes(content)
        with pytest.raises(InvalidInput, match=said):
            imagefiles.read_image(tmp_path / "scan.mat")
        with pytest.raises(InvalidDataset, match=said):
            hdf5.read(tmp_path / "scan.mat")
        with pytest.raises(Refused, match=said):
            inspected(tmp_path / "scan.mat")

    def test_a_real_npz_is_told(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", image=IMAGE)
        with pytest.raises(InvalidInput, match=r"a\.npz is a zip archive"):
            imagefiles.read_image(tmp_path / "a.npz")


class TestOpenForWriting:
    """A copy of a file that its writer has not closed."""

    @pytest.fixture(params=[False, True], ids=["written", "SWMR"])
    def path(self, path: Path, request: pytest.FixtureRequest) -> Path:
        with h5py.File(path.with_name("writing.h5"), "w", libver="latest") as file:
            file["image"] = IMAGE
            if request.param:
                file.swmr_mode = True
            file.flush()
            path.write_bytes(path.with_name("writing.h5").read_bytes())
        return path

    def test_everybody_says_how_it_is_cleared(self, path: Path) -> None:
        for read, error in ((inspected, Refused), (ran, InvalidDataset), (opened, InvalidInput)):
            with pytest.raises(error, match=r"marked as open for writing: .*h5clear -s FILE"):
                read(path)

    def test_a_file_that_was_closed_is_not_marked(self, path: Path) -> None:
        closed = path.with_name("writing.h5").read_bytes()
        assert not signatures.is_open_for_writing(io.BytesIO(closed))


THIRD_PARTY = {32008: "bitshuffle", 32001: "Blosc", 32015: "Zstandard"}


@pytest.mark.parametrize(("code", "name"), THIRD_PARTY.items())
def test_a_filter_that_is_not_here_is_told_by_its_name(path: Path, code: int, name: str) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(IMAGE.shape)
    plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(IMAGE.shape)
        h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_UINT16, space, dcpl=plan)
        file["image"].id.write_direct_chunk((0, 0), b"packed")
    for read, error in (
        (inspected, Refused),
        (ran, InvalidDataset),
        (opened, InvalidInput),
        (downloaded, InvalidInput),
    ):
        with pytest.raises(error, match=rf"compressed by {name} \(filter {code}\).*h5repack"):
            read(path)
