"""Bodies of uploads: files as they lie on disk, and arrays as HDF5 without a copy of their bytes anywhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from voxloom import imagefiles
from voxloom.errors import InvalidInput
from voxloom.imagemeta import Meta

CHUNK = 1 << 20
_BIG = 1 << 16
"""Bytes from which on an array is sent from where it lies in memory."""


@dataclass(frozen=True)
class Patch:
    """Bytes that stand at `offset` of the body in place of what the file has there."""

    offset: int
    data: memoryview


class Body:
    """A file to send, with parts of it taken from memory. Iterating blocks (it reads the file)."""

    def __init__(self, path: Path, patches: list[Patch] | None = None) -> None:
        self._path = path
        self._patches = sorted(patches or [], key=lambda patch: patch.offset)
        self.size = imagefiles.require_file(path).stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            for patch in self._patches:
                yield from _read(file, patch.offset - file.tell())
                for start in range(0, len(patch.data), CHUNK):
                    yield bytes(patch.data[start : start + CHUNK])
                file.seek(patch.offset + len(patch.data))
            yield from _read(file, self.size - file.tell())


def _read(file: Any, count: int) -> Iterator[bytes]:
    while count > 0:
        chunk = file.read(min(CHUNK, count))
        if not chunk:
            raise InvalidInput(f"{file.name} became shorter while it was sent; try again when it is complete.")
        yield chunk
        count -= len(chunk)


@contextmanager
def hdf5_body(datasets: Mapping[str, Any], metas: Mapping[str, Meta]) -> Iterator[Body]:
    """An HDF5 file of these datasets (contiguous), valid inside the block.

    On disk it is an outline: it has room for big arrays and leaves it a hole. Their bytes are sent from memory.
    """
    with tempfile.TemporaryDirectory(prefix="voxloom-") as folder:
        path = Path(folder) / "upload.h5"
        with h5py.File(path, "w") as file:
            patches = [patch for name, value in datasets.items() if (patch := _put(file, name, value)) is not None]
            for name in metas.keys() & datasets.keys():
                imagefiles.put_meta(file[name], metas[name])
        yield Body(path, patches)


def _put(file: h5py.File, name: str, value: Any) -> Patch | None:
    if not name or value is None:
        raise InvalidInput("Every dataset needs a name and a value.")
    if not isinstance(value, np.ndarray) or value.nbytes < _BIG or value.dtype.hasobject or value.dtype.kind in "SUmM":
        imagefiles.put_dataset(file, name, value)
        return None
    room = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    room.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    room.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dataset = file.create_dataset(name, shape=value.shape, dtype=value.dtype, dcpl=room)
    return Patch(dataset.id.get_offset(), np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
