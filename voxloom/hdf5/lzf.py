"""LZF, unpacked by h5py's filter, so that the bytes that it gives can be counted.

The filter does not tell how many bytes it has made, and the library hands out the rest of the memory with them. So
bytes that nobody can foresee are packed behind: they stand where they must only if exactly `size` came before.
"""

from __future__ import annotations

import secrets
from typing import Any

import h5py
import numpy as np

from voxloom.hdf5.unpacking import Bytes, Wrong, wrong_size

_MARK = 32
"""Bytes: a run of so many is one token."""


class Unpacker:
    """Has a file in memory for it; not for several threads at a time."""

    def __init__(self) -> None:
        self._file: Any = None
        self._dataset: Any = None

    def unpack(self, packed: Bytes, size: int) -> memoryview:
        """Raises Wrong unless they unpack to exactly `size` bytes."""
        mark = secrets.token_bytes(_MARK)
        dataset, found = self._dataset_for(size + _MARK), np.empty(size + _MARK, np.uint8)
        try:
            dataset.write_direct_chunk((0,), b"".join((packed, bytes([_MARK - 1]), mark)))
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, found)
        except (OSError, RuntimeError) as error:
            raise Wrong(f"cannot be unpacked ({error})") from error
        if found[size:].tobytes() != mark:
            raise wrong_size("other than", size)
        return found[:size].data

    def _dataset_for(self, size: int) -> Any:
        if self._dataset is None or self._dataset.shape != (size,):
            # The library takes two files in memory with one name for the same.
            self._file = h5py.File(f"lzf-{secrets.token_hex(8)}", "w", driver="core", backing_store=False)
            self._dataset = self._file.create_dataset("x", (size,), "u1", chunks=(size,), compression="lzf").id
        return self._dataset
