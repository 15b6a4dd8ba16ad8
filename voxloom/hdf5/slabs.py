"""A dataset that is read item by item, and of which each chunk is unpacked once."""

from __future__ import annotations

import threading
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxloom.hdf5 import chunks
from voxloom.hdf5.chunks import Part

LARGEST = 128 << 20
"""Bytes of items that are kept together."""


class Slabs:
    """Items along the first axis of an h5py.Dataset, or, with `...`, all of it; for several threads.

    The items that lie in the same chunks are read together and kept until others are asked for."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()
        self._first = 0
        self._kept: NDArray[Any] | None = None
        self.path = str(dataset.file.filename)
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype = np.dtype(dataset.dtype)

    def __getitem__(self, index: int | EllipsisType, /) -> Any:
        if isinstance(index, EllipsisType):
            return chunks.read(self.dataset)
        index = range(self.shape[0])[index]
        depth = self._depth()
        if depth == 1:
            return chunks.read(self.dataset, Part(0, index))
        with self._lock:
            if self._kept is None or not self._first <= index < self._first + len(self._kept):
                self._first = index // depth * depth
                count = min(depth, self.shape[0] - self._first)
                self._kept = None
                self._kept = chunks.read(self.dataset, Part(0, self._first, count))
            return self._kept[index - self._first].copy()

    def _depth(self) -> int:
        """How many items a chunk has; 1 where they are not kept."""
        if self.dataset.chunks is None:
            return 1
        depth = int(self.dataset.chunks[0])
        item = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return depth if depth * item <= LARGEST else 1
