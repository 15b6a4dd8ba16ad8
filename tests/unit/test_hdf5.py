"""Values to HDF5 and back, looked at with plain h5py in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from voxloom.runner import InvalidDataset, hdf5

TEXT = "text"
RECORD = np.dtype([("x", "<f4"), ("label", "<i8")])


def written(folder: Path, value: Any) -> Path:
    path = folder / "file.h5"
    hdf5.write(path, {"data": hdf5.encode("data", value)})
    return path


@pytest.fixture
def dataset(tmp_path: Path, value: Any) -> Iterator[h5py.Dataset]:
    with h5py.File(written(tmp_path, value)) as file:
        yield file["data"]


ENCODINGS: dict[str, tuple[Any, tuple[int, ...], Any]] = {
    "array 2-D": (np.ones((2, 3), np.uint16), (2, 3), "uint16"),
    "array 5-D": (np.ones((1, 2, 1, 2, 1), np.float16), (1, 2, 1, 2, 1), "float16"),
    "array of rank 0": (np.array(2.5, np.float32), (), "float32"),
    "array without items": (np.empty((0, 3), np.float32), (0, 3), "float32"),
    "bools": (np.array([True, False]), (2,), "bool"),
    "complex": (np.array([1 + 2j]), (1,), "complex128"),
    "records": (np.zeros(3, RECORD), (3,), RECORD),
    "big endian": (np.ones(2, ">u2"), (2,), ">u2"),
    "text": ("naïve", (), TEXT),
    "empty text": ("", (), TEXT),
    "bytes": (b"abc", (), TEXT),
    "list of texts": (["a", "µm"], (2,), TEXT),
    "tuple of texts": (("a", "b"), (2,), TEXT),
    "array of kind U": (np.array(["a", "bc"]), (2,), TEXT),
    "array of kind S": (np.array([b"a", b"bc"]), (2,), TEXT),
    "empty list": ([], (0,), TEXT),
    "empty tuple": ((), (0,), TEXT),
    "list of arrays": ([np.zeros((4, 5), np.uint8)] * 3, (3, 4, 5), "uint8"),
    "list of ints": ([1, 2], (2,), "int64"),
    "list of floats": ([1.0, 2], (2,), "float64"),
    "list of bools": ([True, False], (2,), "bool"),
    "tuple of ints": ((7, 8), (2,), "int64"),
    "list of lists": ([[1, 2, 3], [4, 5, 6]], (2, 3), "int64"),
    "int": (3, (), "int64"),
    "float": (0.5, (), "float64"),
    "bool": (True, (), "bool"),
    "numpy scalar": (np.float32(0.5), (), "float32"),
}


@pytest.mark.parametrize(("value", "shape", "dtype"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_value_becomes_one_plain_dataset(dataset: h5py.Dataset, shape: tuple[int, ...], dtype: Any) -> None:
    is_text = h5py.check_string_dtype(dataset.dtype) == ("utf-8", None)

    assert dataset.shape == shape
    assert is_text if dtype == TEXT else dataset.dtype == np.dtype(dtype)


@pytest.mark.parametrize("value", [encoding[0] for encoding in ENCODINGS.values()], ids=ENCODINGS)
def test_a_dataset_is_contiguous_and_bare(dataset: h5py.Dataset) -> None:
    creation = dataset.id.get_create_plist()

    assert creation.get_layout() == h5py.h5d.CONTIGUOUS
    assert (creation.get_nfilters(), list(dataset.attrs)) == (0, [])


ROUND_TRIPS = {
    "list of texts": (["a", "µm"], ["a", "µm"]),
    "text": ("naïve", "naïve"),
    "empty text": ("", ""),
    "empty list": ([], []),
    "int": (3, 3),
    "bool": (True, True),
    "array of kind S": (np.array([b"a", "µ".encode()]), ["a", "µ"]),
}


@pytest.mark.parametrize(("value", "expected"), ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_a_value_reads_back(tmp_path: Path, value: Any, expected: Any) -> None:
    assert hdf5.read(written(tmp_path, value))["data"] == expected


ARRAYS = {name: value for name, (value, _, dtype) in ENCODINGS.items() if np.ndim(value) and dtype != TEXT}


@pytest.mark.parametrize("value", ARRAYS.values(), ids=ARRAYS)
def test_an_array_reads_back_equal_writable_and_of_the_same_dtype(tmp_path: Path, value: Any) -> None:
    read = hdf5.read(written(tmp_path, value))["data"]

    native = value.astype(value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value
    np.testing.assert_array_equal(read, native, strict=isinstance(value, np.ndarray))
    assert read.flags.writeable


def test_numbers_of_the_other_byte_order_are_read_in_ours(tmp_path: Path) -> None:
    assert hdf5.read(written(tmp_path, np.arange(3, dtype=">u2")))["data"].dtype == np.dtype("=u2")


def test_an_array_that_is_not_contiguous_in_memory_is_stored_as_it_looks(tmp_path: Path) -> None:
    value = np.arange(24).reshape(4, 6)[::2, ::-1].T

    np.testing.assert_array_equal(hdf5.read(written(tmp_path, value))["data"], value)


REFUSED = {
    "ragged list of arrays": ([np.zeros(2), np.zeros(3)], "do not fit together"),
    "ragged list of lists": ([[1], [1, 2]], "do not fit together"),
    "numbers and texts": ([1, "a"], "do not fit together"),
    "dict": ({"a": 1}, "is a dict"),
    "none in a list": ([None], "do not fit together"),
    "set": ({1, 2}, "is a set"),
    "bytes with NUL": (b"a\0b", "NUL"),
    "text with NUL": ("a\0b", "NUL"),
    "bytes that are no text": (b"\xff\xfe", "not UTF-8"),
    "lone surrogate": ("\ud800", "not UTF-8"),
    "dates": (np.array(["2026-01-01"], "datetime64[D]"), "datetime64"),
    "objects": (np.array([object()]), "array of object"),
    "an int beyond 64 bits": (1 << 70, "an int, 1180591620717411303424"),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_dataset_can_hold_is_refused_by_name(value: Any, reason: str) -> None:
    with pytest.raises(InvalidDataset, match=f"data.*{reason}"):
        hdf5.encode("data", value)


@pytest.mark.parametrize("name", ["", ".", "a/b", "/a", "a\0"])
def test_a_name_that_would_not_lie_at_the_root_is_refused(name: str) -> None:
    with pytest.raises(InvalidDataset, match="cannot name a dataset"):
        hdf5.encode(name, 1)


def test_a_file_is_in_the_earliest_format(tmp_path: Path) -> None:
    superblock_version = written(tmp_path, np.zeros((2, 2))).read_bytes()[8]

    assert superblock_version == 0


class TestReading:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "input.h5"
        with h5py.File(path, "w") as file:
            file["image"] = np.arange(6).reshape(2, 3)
            file["other"] = [1, 2]
            file["group/inner"] = [3]
            file["chunked"] = file.create_dataset("deflated", data=np.arange(100), chunks=(10,), compression="gzip")
            file["nothing"] = h5py.Empty("f4")
            file["fixed"] = np.array([b"ab", b"c"])
        return path

    def test_groups_are_passed_over(self, path: Path) -> None:
        assert set(hdf5.read(path)) == {"image", "other", "chunked", "deflated", "nothing", "fixed"}

    def test_only_the_named_datasets_are_read(self, path: Path) -> None:
        assert set(hdf5.read(path, ["image", "group", "absent"])) == {"image"}

    def test_compressed_datasets_can_be_read(self, path: Path) -> None:
        np.testing.assert_array_equal(hdf5.read(path, ["deflated"])["deflated"], np.arange(100))

    def test_a_dataset_without_a_value_reads_as_none(self, path: Path) -> None:
        assert hdf5.read(path, ["nothing"]) == {"nothing": None}

    def test_texts_of_fixed_length_read_as_texts(self, path: Path) -> None:
        assert hdf5.read(path, ["fixed"]) == {"fixed": ["ab", "c"]}

    def test_what_is_read_is_not_the_file(self, path: Path) -> None:
        hdf5.read(path)["image"][:] = -1

        assert hdf5.read(path)["image"].min() == 0

    def test_a_file_that_is_not_hdf5_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"not HDF5")

        with pytest.raises(InvalidDataset, match="no HDF5 file"):
            hdf5.read(tmp_path / "x")
