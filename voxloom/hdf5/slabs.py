"""A dataset that is read item by item, and of which each chunk is unpacked once."""

from __future__ import annotations

import math
import threading
from types import EllipsisType
from typing import Any

from numpy.typing import NDArray

from voxloom.hdf5 import chunks
from voxloom.hdf5.chunks import Part, Stored

LARGEST = 128 << 20
"""Bytes of items that are kept together, at most."""
WORTH = 16 << 20
"""And those that are read together at least, where there are so many."""


class Slabs:
    """Items along the first axis of an h5py.Dataset, or, with `...`, all of it; for several threads.

    The items that lie in the same chunks are read together and kept until others are asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()
        self._first = 0
        self._kept: NDArray[Any] | None = None
        self._rows: dict[int, Stored] | None = None
        """The chunks by where they begin along the first axis."""
        self.path = str(dataset.file.filename)
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype = chunks.dtype_of(dataset)

    def __getitem__(self, index: int | EllipsisType, /) -> Any:
        if isinstance(index, EllipsisType):
            return chunks.read(self.dataset)
        index = range(self.shape[0])[index]
        with self._lock:
            if self._kept is None or not self._first <= index < self._first + len(self._kept):
                self._kept = None
                depth = self._depth()
                self._first = index // depth * depth
                self._kept = self._read(self._first, min(depth, self.shape[0] - self._first))
            return self._kept[index - self._first].copy()

    def _depth(self) -> int:
        """How many items are read together: those of a chunk, or of several."""
        item = max(1, self.dtype.itemsize * math.prod(self.shape[1:]))
        chunk = self.dataset.chunks[0] if self.dataset.chunks else 1
        if chunk * item > LARGEST:
            return 1
        return int(chunk * max(1, WORTH // (chunk * item)))

    def _read(self, first: int, count: int) -> NDArray[Any]:
        part = Part(0, first, count)
        if not self.dataset.chunks:
            return chunks.read(self.dataset, part)
        if self._rows is None:
            self._rows = _by_row(chunks.stored_chunks(self.dataset.id))
        depth = self.dataset.chunks[0]
        rows = [self._rows.get(at, {}) for at in range(first // depth * depth, first + count, depth)]
        return chunks.read(self.dataset, part, stored={place: one for row in rows for place, one in row.items()})


def _by_row(stored: Stored) -> dict[int, Stored]:
    rows: dict[int, Stored] = {}
    for place, one in stored.items():
        rows.setdefault(place[0], {})[place] = one
    return rows
