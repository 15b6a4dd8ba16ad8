"""Slices out of an open file: checked, read with as few bytes as it takes, and made into a picture or an array file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5l, h5o

from shared.hdf5 import inspector, png
from shared.hdf5.plain import cut_out, is_plain
from shared.hdf5.slice_plan import (
    MOST_READ,
    SLAB,
    Cut,
    Runs,
    Wrong,
    check_chunks,
    check_picture,
    check_size,
    cut_of,
    runs_of,
)
from voxloom.hdf5 import chunks, links
from voxloom.hdf5.chunks import Part
from voxloom.hdf5.refusals import Refused
from voxloom.hdf5.storage import check_storage, points_of, sources

NUMBERS = "biufc"
MOST_PREFETCHED = 64 << 20
"""What is asked for ahead: all of it has to find room."""

Need = Callable[[list[tuple[int, int]]], None]


@dataclass(frozen=True)
class Request:
    dataset: str | None
    axis: int | None
    index: int | None
    format: str
    contrast: str | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Request:
        return cls(**{name: said[name] for name in cls.__dataclass_fields__})


def read(file: Any, request: Request, size: int, need: Need, descriptor: int | None = None) -> np.ndarray:
    """The values that are asked for, with the dtype of the file. `size`: of the file in bytes; `descriptor`: of the
    file, where it is one of this machine, so that nothing has to be asked for ahead.

    Raises Wrong for what cannot be asked for, Refused for what must not be opened.
    """
    dataset = h5py.Dataset(_open(file, _name(file, request.dataset), size))
    if dataset.shape is None:
        raise Wrong("dataset", "It has no values at all.")
    dtype = _dtype(dataset, request)
    cut = cut_of(dataset.shape, request.axis, request.index)
    shape = cut.shape(dataset.shape)
    check_size(shape, dtype.itemsize)
    if request.format == "png":
        check_picture(shape)
    if dataset.chunks is not None:
        check_chunks(dataset.shape, dataset.chunks, cut, dtype.itemsize)
        if descriptor is not None and is_plain(dataset, dtype):
            return cut_out(dataset, cut, dtype, descriptor)
        if descriptor is None:
            need(_spans_of_chunks(dataset, cut))
        return chunks.read(dataset, _part(cut))
    if dataset.is_virtual:
        _check_sources(dataset)
        return chunks.read(dataset, _part(cut))
    return _from_one_piece(dataset, cut, dtype, need)


def _name(file: Any, name: str | None) -> str:
    """Without a name: that of the only dataset at the root."""
    if name is not None:
        return name
    root = h5o.open(file, b"/")
    mine = [one for one in root if root.links.get_info(one).type in (h5l.TYPE_HARD, h5l.TYPE_SOFT)]
    datasets = [(one, found) for one in mine if (found := _dataset_or_none(file, one)) is not None]
    by_address = {links.address(found): one for one, found in reversed(datasets)}
    if len(by_address) != 1:
        raise Wrong("dataset", f"The file has {len(by_address)} datasets at its root; name the one that is meant.")
    return str(next(iter(by_address.values())).decode(errors="replace"))


def _dataset_or_none(file: Any, name: bytes) -> Any:
    try:
        return links.find_dataset(file, name)
    except Refused:
        return None


def _open(file: Any, name: str, size: int) -> Any:
    try:
        here = links.find_dataset(file, name)
    except Refused as error:
        raise Wrong("dataset", f"{error}.") from error
    if here is None:
        raise _unknown(name)
    plan = here.get_create_plist()
    check_storage(name, here, plan, size)
    inspector.check_chunks(name, plan, here.get_type().get_size())
    return here


def _check_sources(dataset: Any) -> None:
    """Raises Wrong where too much would have to be unpacked: all of the sources are looked at before one is read."""
    found = sources(str(dataset.name), dataset.id, dataset.id.get_create_plist())
    packed = [one for _, one in found if one.get_create_plist().get_layout() == h5py.h5d.CHUNKED]
    total = sum(points_of(one.get_space()) * one.get_type().get_size() for one in packed)
    if total > MOST_READ:
        raise Wrong("dataset", f"It is put together from {total} bytes; {MOST_READ} are the most. Download the file.")


def _part(cut: Cut) -> Part:
    return Part(cut.axis, cut.index)


def _unknown(name: str) -> Wrong:
    return Wrong("dataset", f"There is no dataset {name[:80]!r} in the file; its /info lists those there are.")


def _dtype(dataset: Any, request: Request) -> np.dtype:
    try:
        dtype: np.dtype = np.dtype(dataset.dtype)
    except (TypeError, ValueError):
        raise Wrong("dataset", "Its values have a type that only an HDF5 library knows; download the file.") from None
    if dtype.kind not in NUMBERS or dtype.hasobject or dtype.subdtype is not None:
        raise Wrong("dataset", "Its values are texts or records, no numbers; download the file.")
    if request.format == "png" and dtype.kind == "c":
        raise Wrong("format", "Its values are complex, of which there is no picture; ask for format=npy.")
    return dtype


def _spans_of_chunks(dataset: Any, cut: Cut) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    left = MOST_PREFETCHED
    for chunk in chunks.stored_chunks(dataset.id, _part(cut).bounds(dataset.shape)).values():
        if chunk.size > left:
            continue
        spans.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
        left -= chunk.size
    return spans


def _from_one_piece(dataset: Any, cut: Cut, dtype: np.dtype, need: Need) -> np.ndarray:
    """Where the values that are wanted lie close together, more is read and thrown away: that is one read, not many."""
    runs = runs_of(dataset.shape, dtype.itemsize, cut)
    runs.check()
    if runs.sparse or cut.axis in (None, 0):
        need(_spans(dataset, runs))
        return chunks.read(dataset, _part(cut))
    found = np.empty(cut.shape(dataset.shape), dtype)
    rows = max(1, SLAB * dataset.shape[0] // max(1, dataset.size * dtype.itemsize))
    for start in range(0, dataset.shape[0], rows):
        count = min(rows, dataset.shape[0] - start)
        found[start : start + count] = chunks.read(dataset, Part(0, start, count))[cut.key(dataset.ndim)]
    return found


def _spans(dataset: Any, runs: Runs) -> list[tuple[int, int]]:
    offset = dataset.id.get_offset()
    spans = runs.spans() if offset is not None and runs.sparse else []
    if sum(stop - start for start, stop in spans) > MOST_PREFETCHED:
        return []
    return [(offset + start, offset + stop) for start, stop in spans]


def encoded(values: np.ndarray, request: Request) -> bytes:
    """Raises Wrong."""
    if request.format == "png":
        return _picture(values, request)
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _picture(values: np.ndarray, request: Request) -> bytes:
    low, high = window_of(values, request)
    image = png.to_grey(values, low, high)
    return png.encode(np.moveaxis(image, 0, -1) if image.ndim == 3 else image)


def window_of(values: np.ndarray, request: Request) -> tuple[float, float]:
    """What is black and what is white: as given, else all that the dtype can say (`dtype`: of 0 to 1 where it is no
    integer), else the least and the greatest finite value of the slice (`slice`). Bytes and bools are shown as they
    are unless somebody asks for more. Raises Wrong."""
    contrast = request.contrast or ("dtype" if values.dtype.kind == "b" or values.dtype == np.uint8 else "slice")
    low, high = _dtype_range(values.dtype) if contrast == "dtype" else _extent(values)
    low = low if request.low is None else request.low
    high = high if request.high is None else request.high
    if low > high or (low == high and None not in (request.low, request.high)):
        raise Wrong("low", f"`low` ({low:g}) has to be less than `high` ({high:g}).")
    return low, high


def _dtype_range(dtype: np.dtype) -> tuple[float, float]:
    if dtype.kind not in "iu":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _extent(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
