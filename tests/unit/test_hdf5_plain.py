"""Slices cut out of plain chunks by hand are those that the HDF5 library gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from shared.hdf5 import plain, slicing
from shared.hdf5.slice_plan import Cut
from voxloom.hdf5.refusals import Refused

VOLUME = np.random.default_rng(3).integers(0, 60_000, (9, 21, 33))
MIB = 1 << 20


def nothing(_spans: object) -> None:
    """Nothing is asked for ahead."""


def request(axis: int | None, index: int | None, dataset: str = "x") -> slicing.Request:
    return slicing.Request(dataset, axis, index, "npy", None, None, None)


def read(path: Path, wanted: slicing.Request) -> np.ndarray:
    size = path.stat().st_size
    with path.open("rb") as opened, h5py.File(path) as file:
        return slicing.read(file.id, wanted, size, nothing, opened.fileno())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.h5"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (4, 8, 16)},
        {"chunks": (1, 21, 33)},
        {"chunks": (9, 21, 33)},
        {"chunks": (2, 21, 1)},
        {"chunks": (4, 8, 16), "compression": "gzip"},
        {"chunks": (4, 8, 16), "shuffle": True},
        {},
    ],
    ids=["cubes", "pictures", "one chunk", "columns", "packed", "shuffled", "no chunks"],
)
def test_every_layout_gives_the_same(path: Path, layout: dict[str, Any], axis: int) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VOLUME, **layout)
    for index in (0, VOLUME.shape[axis] // 2, VOLUME.shape[axis] - 1):
        assert np.array_equal(read(path, request(axis, index)), VOLUME.take(index, axis))


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f4", ">f8", "f2", "?", "<c8"])
def test_every_type_gives_the_same(path: Path, dtype: str) -> None:
    values = (VOLUME % 2 if dtype == "?" else VOLUME % 100).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values, chunks=(4, 8, 16))
    found = read(path, request(1, 20))
    assert found.dtype == values.dtype
    assert np.array_equal(found, values[:, 20])


def test_what_was_never_written_is_the_fill_value(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (9, 21), "i4", chunks=(4, 8), fillvalue=7)[4:8, :8] = 1
    found = read(path, request(None, None))
    assert (found.sum(), found[4:8, :8].sum()) == (7 * (9 * 21 - 32) + 32, 32)


def test_a_user_block_before_the_file_shifts_nothing(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", data=VOLUME, chunks=(4, 8, 16))
    assert np.array_equal(read(path, request(0, 5)), VOLUME[5])


def test_chunks_that_are_cut_off_are_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=VOLUME, chunks=(9, 21, 33))
        end = dataset.id.get_chunk_info(0).byte_offset + 100
    with path.open("rb") as whole, h5py.File(path) as file, (path.parent / "cut").open("w+b") as cut:
        cut.write(whole.read(end))
        cut.flush()
        with pytest.raises(Refused, match="not all there"):
            slicing.read(file.id, request(2, 5), end, nothing, cut.fileno())


@pytest.mark.parametrize(
    ("chunk", "cut", "count", "read"),
    [
        ((64, 64, 64), Cut(0, 70), 1, 64 * 64 * 4),
        ((64, 64, 64), Cut(1, 70), 64, 64 * 64 * 4),
        ((64, 64, 64), Cut(2, 70), 1, MIB),
        ((1, 512, 512), Cut(1, 70), 1, 512 * 4),
        ((1, 512, 512), Cut(2, 70), 1, MIB),
        ((512, 512), Cut(None, None), 1, MIB),
    ],
)
def test_no_more_of_a_chunk_is_read_than_is_worth_it(chunk: tuple[int, ...], cut: Cut, count: int, read: int) -> None:
    parts = plain.parts(chunk, 4, cut)
    assert (len(parts), sum(stop - start for start, stop in parts)) == (count, read)
