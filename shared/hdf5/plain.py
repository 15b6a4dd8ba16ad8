"""Slices out of chunks that are neither packed nor of a type that has to be converted, in a file of this machine.

The HDF5 library reads and copies every chunk whole; here a slice costs its own bytes where they lie together in a
chunk, and a single read per chunk where they do not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from h5py import h5t

from shared.hdf5.slice_plan import SLAB, Cut, runs_of
from voxloom.hdf5.chunks import Part, fill_value, stored_chunks
from voxloom.hdf5.refusals import Refused

PAGE = 1 << 12
"""What reading a few bytes costs, in bytes that could be read instead."""


def is_plain(dataset: Any, dtype: np.dtype) -> bool:
    """Whether the bytes of its chunks are the values, and lie where the library says."""
    if dataset.id.get_create_plist().get_nfilters() or dataset.file.userblock_size:
        return False
    small = math.prod(dataset.chunks) * dtype.itemsize <= SLAB
    return small and bool(dataset.id.get_type().equal(h5t.py_create(dtype)))


def cut_out(dataset: Any, cut: Cut, dtype: np.dtype, file: int) -> np.ndarray:
    """The values of the cut. `file`: a descriptor of the dataset's file. Raises Refused."""
    found = np.full(cut.shape(dataset.shape), fill_value(dataset), dtype)
    room = np.empty(dataset.chunks, dtype)
    raw = room.reshape(-1).view(np.uint8)
    wanted = parts(dataset.chunks, dtype.itemsize, cut)
    for place, chunk in stored_chunks(dataset.id, Part(cut.axis, cut.index).bounds(dataset.shape)).items():
        if chunk.size != room.nbytes:
            raise _not_there()
        there, here = places(dataset.shape, dataset.chunks, place, cut)
        for start, stop in wanted:
            _read(file, chunk.byte_offset + start, raw[start:stop])
        found[here] = room[there]
    return found


def places(
    shape: Sequence[int], chunk: Sequence[int], place: Sequence[int], cut: Cut
) -> tuple[tuple[int | slice, ...], tuple[slice, ...]]:
    """Which part of a chunk is wanted, and where in the cut it belongs."""
    ends = [min(start + length, whole) for start, length, whole in zip(place, chunk, shape, strict=True)]
    there = tuple(
        cut.index - start if at == cut.axis and cut.index is not None else slice(0, end - start)
        for at, (start, end) in enumerate(zip(place, ends, strict=True))
    )
    here = tuple(slice(start, end) for at, (start, end) in enumerate(zip(place, ends, strict=True)) if at != cut.axis)
    return there, here


def parts(chunk: Sequence[int], width: int, cut: Cut) -> list[tuple[int, int]]:
    """Which bytes of a chunk to read for the cut: its own, or all where that is less work."""
    axis, index = cut.axis, cut.index
    runs = runs_of(chunk, width, cut if axis is None or index is None else Cut(axis, index % chunk[axis]))
    whole = runs.count * runs.step
    return [(0, whole)] if runs.count * (runs.length + PAGE) >= whole else runs.spans()


def _read(file: int, offset: int, room: np.ndarray) -> None:
    """Fills `room` with the bytes of the file from `offset` on."""
    if os.preadv(file, [room.data], offset) < room.nbytes:
        raise _not_there()


def _not_there() -> Refused:
    return Refused("its chunks are not all there; upload it again")
