"""No reader gives a byte that the file does not hold, whatever its filters, masks and lengths say."""

from __future__ import annotations

import ctypes
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.hdf5.inspector import inspect
from tests.unit.hdf5_chunks import (
    COUNT,
    DEFLATE,
    FLETCHER32,
    LIMIT,
    LZF,
    READERS,
    REFUSALS,
    SETUPS,
    SHAPE,
    SHUFFLE,
    counted,
    downloaded,
    inspected,
    make,
    opened,
    packed,
    ran,
    sliced,
    sliced_from_afar,
    values_of,
)
from voxloom.hdf5 import chunks, lzf, slabs, unpacking
from voxloom.hdf5.chunks import Part
from voxloom.hdf5.refusals import Refused
from voxloom.hdf5.unpacking import Wrong

CHAINS = [
    (),
    (DEFLATE,),
    (SHUFFLE, DEFLATE),
    (SHUFFLE, DEFLATE, FLETCHER32),
    (FLETCHER32, SHUFFLE, DEFLATE),
    (DEFLATE, SHUFFLE),
    (SHUFFLE,),
    (FLETCHER32,),
    (SHUFFLE, LZF),
    (FLETCHER32, LZF, FLETCHER32),
]
DTYPES = ["u1", "<i2", ">u2", "<f4", ">f8", "?"]


@given(
    chain=st.sampled_from(CHAINS),
    mask=st.integers(0, 7),
    dtype=st.sampled_from(DTYPES),
    length=st.sampled_from([0, 1, 3, 10, 100, COUNT - 1, COUNT, COUNT + 1, 2 * COUNT, 4 * COUNT, 9 * COUNT]),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_chunk_has_the_declared_size_or_nobody_reads_it(
    tmp_path: Path, chain: tuple[int, ...], mask: int, dtype: str, length: int
) -> None:
    width = np.dtype(dtype).itemsize
    data = np.resize(values_of(dtype).ravel(), -(-length // width)).tobytes()[:length]
    stored = packed(chain, mask, data, width)
    make(tmp_path / "x.h5", chain, dtype, stored or b"\0", mask)

    if length == COUNT * width:
        _check_all_read(tmp_path / "x.h5", values_of(dtype))
    else:
        _check_nobody_reads(tmp_path / "x.h5")


def _check_all_read(path: Path, values: np.ndarray) -> None:
    inspected(path)
    for read in (sliced, ran, downloaded, opened):
        np.testing.assert_array_equal(read(path), values)
    np.testing.assert_array_equal(sliced_from_afar(path), values[3])
    assert values.dtype == bool or counted(path)["mean"] == pytest.approx(values.mean())


def _check_nobody_reads(path: Path) -> None:
    for read in READERS:
        with pytest.raises(REFUSALS):
            read(path)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("dtype", ["<i2", ">f8"])
def test_what_the_library_has_packed_is_read_by_all(tmp_path: Path, chain: tuple[int, ...], dtype: str) -> None:
    make(tmp_path / "x.h5", chain, dtype, None, 0)
    _check_all_read(tmp_path / "x.h5", values_of(dtype))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("chain", [(DEFLATE,) * 2, (DEFLATE,) * 6, (DEFLATE, LZF)], ids=["two", "six", "gzip and lzf"])
def test_data_that_is_compressed_several_times_is_refused(
    tmp_path: Path, chain: tuple[int, ...], read: Callable[[Path], Any]
) -> None:
    make(tmp_path / "x.h5", chain, "u1", packed(chain, 0, values_of("u1").tobytes(), 1), 0)
    with pytest.raises(REFUSALS, match="cannot be undone safely"):
        read(tmp_path / "x.h5")


def _narrowed(code: int, *, scale: int = 0) -> Callable[[Any], None]:
    return lambda plan: plan.set_scaleoffset(h5py.h5z.SO_INT, scale) if code == 6 else plan.set_filter(5)


NARROWED = {5: _narrowed(5), 6: _narrowed(6), DEFLATE: lambda plan: plan.set_deflate(1)}


@pytest.mark.parametrize("chain", [(5,), (6,), (6, DEFLATE), (5, DEFLATE)])
def test_narrowed_values_are_read_by_all_and_not_beyond_their_end(tmp_path: Path, chain: tuple[int, ...]) -> None:
    path = tmp_path / "x.h5"
    make(path, chain, "<i2", None, 0, NARROWED)
    _check_all_read(path, values_of("<i2"))
    with h5py.File(path) as file:
        _, stored = file["image"].id.read_direct_chunk((0, 0))
    inner = zlib.decompress(stored) if DEFLATE in chain else stored
    for short in (b"\0", inner[:20], inner[: len(inner) // 2]):
        make(path, chain, "<i2", zlib.compress(short) if DEFLATE in chain else short, 0, NARROWED)
        _check_nobody_reads(path)


@pytest.mark.parametrize("chain", [*CHAINS[1:], (5,), (6, DEFLATE)])
@pytest.mark.parametrize("as_they_are", [True, False], ids=["edges without filters", "all with filters"])
def test_chunks_at_the_edge_are_read_by_all_with_or_without_filters(
    tmp_path: Path, chain: tuple[int, ...], as_they_are: bool
) -> None:
    _make_with_edges(tmp_path / "x.h5", chain, as_they_are=as_they_are)
    _check_all_read(tmp_path / "x.h5", values_of("<i2"))


@pytest.mark.parametrize("as_they_are", [True, False])
def test_chunks_at_the_edge_have_the_declared_size_or_nobody_reads_them(tmp_path: Path, as_they_are: bool) -> None:
    _make_with_edges(tmp_path / "x.h5", (DEFLATE,), as_they_are=as_they_are)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["image"].id.write_direct_chunk((0, 21), zlib.compress(b"0123456789"))
    _check_nobody_reads(tmp_path / "x.h5")


def _make_with_edges(path: Path, chain: tuple[int, ...], *, as_they_are: bool) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((5, 7))
    for code in chain:
        (SETUPS | NARROWED)[code](plan)
    assert ctypes.PyDLL(h5p.__file__).H5Pset_chunk_opts(ctypes.c_int64(plan.id), 2 * as_they_are) == 0
    with h5py.File(path, "w", libver="latest") as file:
        dataset = h5d.create(file.id, b"image", h5t.STD_I16LE, h5s.create_simple(SHAPE), dcpl=plan)
        dataset.write(h5s.ALL, h5s.ALL, values_of("<i2"))


def test_what_cannot_be_sized_at_all_is_refused(tmp_path: Path) -> None:
    setups = {4: lambda plan: plan.set_szip(h5py.h5z.SZIP_NN_OPTION_MASK, 16)}
    make(tmp_path / "x.h5", (4,), "<i2", None, 0, setups)
    for read in READERS:
        with pytest.raises(REFUSALS, match=r"compressed by szip \(filter 4\)"):
            read(tmp_path / "x.h5")


def test_a_bomb_takes_no_more_memory_than_its_chunk(tmp_path: Path) -> None:
    make(tmp_path / "x.h5", (DEFLATE,), "u1", zlib.compress(bytes(1 << 27), 1), 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _check_nobody_reads(tmp_path / "x.h5")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 15  # KiB


NEVER: dict[str, Callable[[Any], Any]] = {
    "in one piece": lambda plan: None,
    "in chunks": lambda plan: plan.set_chunk((5, 7)),
    "packed": lambda plan: (plan.set_chunk((5, 7)), plan.set_deflate(1)),
}


@pytest.mark.parametrize("setup", NEVER.values(), ids=NEVER)
def test_what_was_never_written_is_zero_though_the_file_says_leave_it(
    tmp_path: Path, setup: Callable[[Any], Any]
) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_fill_time(h5d.FILL_TIME_NEVER)
    setup(plan)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        h5d.create(file.id, b"image", h5t.NATIVE_UINT8, h5s.create_simple(SHAPE), dcpl=plan)
    with h5py.File(tmp_path / "x.h5") as file:
        found = chunks.read(file["image"], allocate=lambda shape, dtype: np.full(shape, 77, dtype))
    assert not found.any()


def test_missing_chunks_are_the_fill_value_for_all(tmp_path: Path) -> None:
    values = np.full(SHAPE, 7, "<i4")
    values[5:10, 7:14] = 1
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("image", SHAPE, "<i4", chunks=(5, 7), fillvalue=7, compression="gzip")
        dataset[5:10, 7:14] = 1
    _check_all_read(tmp_path / "x.h5", values)


@pytest.mark.parametrize("stored", [{}, {"compression": "gzip"}, {"scaleoffset": 0}], ids=["plain", "gzip", "scaled"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("limits", [(16, None), (40, None), (None, 24), (None, 90), (None, None), (40, 90)])
def test_datasets_that_can_grow_are_read_by_all(
    tmp_path: Path, limits: tuple[int | None, ...], libver: str, stored: dict[str, Any]
) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as file:
        dataset = file.create_dataset("image", SHAPE, "<i2", chunks=(5, 7), maxshape=limits, fillvalue=7, **stored)
        dataset[...] = values_of("<i2")
    _check_all_read(tmp_path / "x.h5", values_of("<i2"))
    values = np.full(SHAPE, 7, "<i2")
    values[9:14, 14:22] = 1
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as file:
        dataset = file.create_dataset("image", SHAPE, "<i2", chunks=(5, 7), maxshape=limits, fillvalue=7, **stored)
        dataset[9:14, 14:22] = 1
    _check_all_read(tmp_path / "x.h5", values)


@pytest.mark.parametrize("place", [(0, 7), (5, 0), (10, 14), (15, 21)])
def test_a_short_chunk_is_found_in_a_dataset_that_can_grow(tmp_path: Path, place: tuple[int, int]) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        made = file.create_dataset(
            "image", data=values_of("<i2"), chunks=(5, 7), maxshape=(16, None), compression="gzip"
        )
        made.id.write_direct_chunk(place, zlib.compress(b"0123456789"))
    for read in READERS:
        if read is not sliced_from_afar or place[0] == 0:
            with pytest.raises(REFUSALS):
                read(tmp_path / "x.h5")


@pytest.mark.parametrize("limits", [(4, None, 3), (9, None, 7), (4, 6, None), (9, 8, None), (4, None), (9, None)])
def test_places_in_a_dataset_that_can_grow_are_those_where_the_bytes_are(
    tmp_path: Path, limits: tuple[int | None, ...]
) -> None:
    shape = (4, 6, 3)[: len(limits)]
    values = (np.arange(np.prod(shape)) + 1).reshape(shape).astype("u1")
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        file.create_dataset("x", data=values, chunks=(2, 2, 1)[: len(limits)], maxshape=limits)
    raw = (tmp_path / "x.h5").read_bytes()
    with h5py.File(tmp_path / "x.h5") as file:
        stored = chunks.stored_chunks(file["x"].id)
    assert len(stored) == np.prod((2, 3, 3)[: len(limits)])
    assert all(raw[one.byte_offset] == values[place] for place, one in stored.items())


@pytest.mark.parametrize("stored", [{}, {"chunks": (5, 7)}, {"chunks": (5, 7), "compression": "gzip"}])
def test_every_part_is_the_one_that_numpy_cuts(tmp_path: Path, stored: dict[str, Any]) -> None:
    values = values_of(">u2")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", data=values, **stored)
        assert np.array_equal(chunks.read(dataset, Part(1, 13)), values[:, 13])
        assert np.array_equal(chunks.read(dataset, Part(0, 4, 8)), values[4:12])
        assert chunks.read(dataset, Part(0, 15), dtype=np.dtype("=u2")).dtype.isnative


def compact(file: h5py.File) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_layout(h5d.COMPACT)
    dataset = h5d.create(file.id, b"image", h5t.STD_U16LE, h5s.create_simple((31, 37)), dcpl=plan)
    dataset.write(h5s.ALL, h5s.ALL, np.ones((31, 37), "<u2"))


def in_one_piece(file: h5py.File) -> None:
    file["image"] = np.ones((31, 37), "<u2")


def in_plain_chunks(file: h5py.File) -> None:
    file.create_dataset("image", data=np.ones((31, 37), "<u2"), chunks=(31, 37))


@pytest.mark.parametrize("fill", [compact, in_one_piece, in_plain_chunks])
def test_data_that_is_shorter_than_its_shape_is_read_by_nobody(
    tmp_path: Path, fill: Callable[[h5py.File], None]
) -> None:
    """The shape is made larger where the file says it, as the number of rows."""
    with h5py.File(tmp_path / "x.h5", "w", libver="earliest") as file:
        fill(file)
    data = (tmp_path / "x.h5").read_bytes()
    shape = (31).to_bytes(8, "little") + (37).to_bytes(8, "little")
    larger = (93).to_bytes(8, "little") + (37).to_bytes(8, "little")
    assert shape in data
    (tmp_path / "x.h5").write_bytes(data.replace(shape, larger, 1))
    for read in (ran, downloaded, sliced):
        try:
            found = read(tmp_path / "x.h5")
        except (*REFUSALS, OSError, RuntimeError, KeyError, ValueError):
            continue
        assert set(np.unique(found)) <= {0, 1}
        assert fill is in_plain_chunks


@pytest.mark.parametrize("length", [9, 11, 1 << 24])
def test_text_whose_length_is_not_its_own_is_read_by_nobody(tmp_path: Path, length: int) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        place = file.create_dataset("image", data="ten bytes!", dtype=h5py.string_dtype()).id.get_offset()
    with (tmp_path / "x.h5").open("r+b") as raw:
        raw.seek(place)
        raw.write(length.to_bytes(4, "little"))
    for read in (ran, downloaded):
        with pytest.raises(OSError, match="does not match"):
            read(tmp_path / "x.h5")


class TestVirtual:
    """A dataset that is put together from others of its file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("raw/a", data=values_of("<u2"), chunks=SHAPE, compression="gzip")
            layout = h5py.VirtualLayout(
                SHAPE,
                "<u2",
            )
            layout[:] = h5py.VirtualSource(file["raw/a"])
            file.create_virtual_dataset("image", layout)
        return tmp_path / "x.h5"

    def test_it_is_read_by_all(self, path: Path) -> None:
        inspected(path)
        for read in (sliced, ran, downloaded, opened):
            np.testing.assert_array_equal(read(path), values_of("<u2"))

    def test_its_sources_are_looked_at_like_all_chunks(self, path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file["raw/a"].id.write_direct_chunk((0, 0), zlib.compress(b"0123456789"))
        _check_nobody_reads(path)


class TestUnpacking:
    @pytest.mark.parametrize("size", [0, 1, 7, 1000, (1 << 21) + 3])
    def test_the_checksum_is_the_library_s(self, tmp_path: Path, size: int) -> None:
        data = np.random.default_rng(size).integers(0, 256, max(1, size), np.uint8)
        data[: size // 2] = 255 if size == 1000 else data[: size // 2]
        with h5py.File(tmp_path / "x.h5", "w") as file:
            dataset = file.create_dataset("x", data=data, chunks=data.shape, fletcher32=True)
            _, stored = dataset.id.read_direct_chunk((0,))
        assert stored[-4:] == unpacking.fletcher32(data.tobytes()).to_bytes(4, "little")

    def test_a_checksum_that_does_not_fit_is_told(self) -> None:
        with pytest.raises(Wrong, match="does not fit its checksum"):
            unpacking.without_checksum(b"some data" + bytes(4))

    @pytest.mark.parametrize("size", [10, 5 << 20])
    def test_deflated_bytes_are_neither_too_many_nor_too_few_nor_cut_off(self, size: int) -> None:
        data = bytes(range(256)) * (size // 256 + 1)
        packed = zlib.compress(data[:size])
        assert bytes(unpacking.inflate(packed, size)) == data[:size]
        for bad, wanted in ((packed, size + 1), (packed, size - 1), (packed[:-1], size), (packed[:-5], size)):
            with pytest.raises(Wrong):
                unpacking.inflate(bad, wanted)
            with pytest.raises(Wrong):
                unpacking.check_deflated(bad, wanted)

    def test_lzf_that_ends_within_a_token_is_refused(self) -> None:
        unpacker = lzf.Unpacker()
        good = b"\x04abcde\x60\x04"  # five bytes, and five of them again
        assert bytes(unpacker.unpack(good, 10)) == b"abcdeabcde"
        for bad, size in ((good, 9), (good, 11), (good[:-1], 10), (good[:3], 10), (b"\x1fa", 32), (b"\x1fa", 1)):
            with pytest.raises(Wrong):
                unpacker.unpack(bad, size)


def test_only_so_many_chunks_are_looked_at_in_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=values_of("u1"), chunks=(1, 24)).id.write_direct_chunk((9, 0), b"short")
    with pytest.raises(Refused, match=r"at \(9, 0\), has 5 bytes where 24"):
        inspect(str(tmp_path / "x.h5"), LIMIT)
    monkeypatch.setattr(chunks, "MOST_LOOKED_AT", 9)
    assert len(inspect(str(tmp_path / "x.h5"), LIMIT)) == 1


def test_only_so_much_is_unpacked_at_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.hdf5.inspector.MOST_UNPACKED", 100)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        good = file.create_dataset("a", data=values_of("u1"), chunks=SHAPE, compression="gzip")
        bad = file.create_dataset("b", data=values_of("u1"), chunks=SHAPE, compression="gzip")
        bad.id.write_direct_chunk((0, 0), zlib.compress(b"0123456789"))
        del good, bad
    assert len(inspect(str(tmp_path / "x.h5"), LIMIT)) == 2
    with pytest.raises(Refused, match="at \\(0, 0\\)"), h5py.File(tmp_path / "x.h5") as file:
        chunks.read(file["b"])


@pytest.mark.parametrize("worth", [1, 200, 1 << 20])
@pytest.mark.parametrize("largest", [1, 1 << 20])
@pytest.mark.parametrize("stored", [{}, {"chunks": (5, 7)}, {"chunks": (1, 24), "compression": "gzip"}])
def test_items_are_those_of_the_whole_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: int, largest: int, stored: dict[str, Any]
) -> None:
    monkeypatch.setattr(slabs, "WORTH", worth)
    monkeypatch.setattr(slabs, "LARGEST", largest)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        source = slabs.Slabs(file.create_dataset("x", data=values_of("<u2"), **stored))
        for index in (15, 0, 4, 5, 14, 1, -1):
            assert np.array_equal(source[index], values_of("<u2")[index])
        with pytest.raises(IndexError):
            source[16]
