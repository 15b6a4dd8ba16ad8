"""Slices out of an open file: checked, read with as few bytes as it takes, and made into a picture or an array file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5l, h5o

from shared.hdf5 import png
from shared.hdf5.cuts import SLAB, Cut, Runs, Wrong, check_chunks, check_picture, check_size, chunks_of, cut_of, runs_of
from shared.hdf5.inspector import check_chunk, check_filters, check_storage
from shared.hdf5.plain import cut_out, is_plain

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
        return np.asarray(dataset[cut.key(dataset.ndim)])
    return _from_one_piece(dataset, cut, dtype, need)


def _name(file: Any, name: str | None) -> str:
    """Without a name: that of the only dataset at the root."""
    if name is not None:
        return name
    root = h5o.open(file, b"/")
    hard = [one for one in root if root.links.get_info(one).type == h5l.TYPE_HARD]
    found = [one for one in hard if h5o.get_info(root, one).type == h5o.TYPE_DATASET]
    if len(found) != 1:
        raise Wrong("dataset", f"The file has {len(found)} datasets at its root; name the one that is meant.")
    return str(found[0].decode(errors="replace"))


def _open(file: Any, name: str, size: int) -> Any:
    """By hard links alone: others may lead out of the file."""
    here = h5o.open(file, b"/")
    parts = [part for part in name.encode("utf-8", "surrogatepass").split(b"/") if part]
    for part in parts:
        # Nothing but a group has links, and a dot or a NUL is no name of one.
        if not isinstance(here, h5py.h5g.GroupID) or part in (b".", b"..") or b"\0" in part or part not in here:
            raise _unknown(name)
        if here.links.get_info(part).type != h5l.TYPE_HARD:
            raise _unknown(name)
        here = h5o.open(here, part)
    if not isinstance(here, h5d.DatasetID):
        raise _unknown(name)
    plan = here.get_create_plist()
    check_storage(name, here, plan, size)
    check_filters(name, plan)
    check_chunk(name, plan, here.get_type().get_size())
    return here


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
    for place in chunks_of(dataset.shape, dataset.chunks, cut):
        chunk = dataset.id.get_chunk_info_by_coord(place)
        if chunk.byte_offset is None or chunk.size > left:
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
        return np.asarray(dataset[cut.key(dataset.ndim)])
    found = np.empty(cut.shape(dataset.shape), dtype)
    rows = max(1, SLAB * dataset.shape[0] // max(1, dataset.size * dtype.itemsize))
    for start in range(0, dataset.shape[0], rows):
        found[start : start + rows] = dataset[start : start + rows][cut.key(dataset.ndim)]
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
