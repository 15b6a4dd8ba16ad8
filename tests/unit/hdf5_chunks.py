"""Datasets of one chunk whose stored bytes are whatever a test wants, and all who read them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from shared.hdf5 import contents, inspector, slicing
from voxloom import imagefiles
from voxloom.errors import InvalidInput
from voxloom.hdf5.refusals import Refused
from voxloom.hdf5.unpacking import fletcher32
from voxloom.runner import hdf5
from voxloom.runner.exceptions import InvalidDataset

SHAPE = (16, 24)
COUNT = 16 * 24
LIMIT = 1 << 40
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000

Setup = Callable[[Any], None]
SETUPS: dict[int, Setup] = {
    DEFLATE: lambda plan: plan.set_deflate(1),
    SHUFFLE: lambda plan: plan.set_shuffle(),
    FLETCHER32: lambda plan: plan.set_fletcher32(),
    LZF: lambda plan: plan.set_filter(LZF, h5z.FLAG_OPTIONAL),
}


def make(
    path: Path, chain: Sequence[int], dtype: str, stored: bytes | None, mask: int, setups: dict[int, Setup] = SETUPS
) -> None:
    """A file with the dataset `image`, one chunk of SHAPE. `stored`: its bytes; None: it is written as it should be."""
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk(SHAPE)
    for code in chain:
        setups[code](plan)
    with h5py.File(path, "w") as file:
        kind = h5t.py_create(np.dtype(dtype), logical=True)
        dataset = h5d.create(file.id, b"image", kind, h5s.create_simple(SHAPE), dcpl=plan)
        if stored is None:
            dataset.write(h5s.ALL, h5s.ALL, values_of(dtype))
        else:
            dataset.write_direct_chunk((0, 0), stored, filter_mask=mask)


def values_of(dtype: str) -> np.ndarray:
    return (np.arange(COUNT).reshape(SHAPE) % 120).astype(dtype)


def packed(chain: Sequence[int], mask: int, data: bytes, width: int) -> bytes:
    """What the filters make of the bytes of a chunk, without those in the mask."""
    for at, code in enumerate(chain):
        if not mask >> at & 1:
            data = _PACKED[code](data, width)
    return data


def _shuffled(data: bytes, width: int) -> bytes:
    count = len(data) // width
    planes = np.frombuffer(data[: count * width], np.uint8).reshape(count, width).T
    return planes.tobytes() + data[count * width :]


def _as_literals(data: bytes, _width: int) -> bytes:
    """LZF that packs nothing: runs of 32 bytes at most."""
    runs = [data[at : at + 32] for at in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


_PACKED: dict[int, Callable[[bytes, int], bytes]] = {
    DEFLATE: lambda data, _: zlib.compress(data),
    SHUFFLE: _shuffled,
    FLETCHER32: lambda data, _: data + fletcher32(data).to_bytes(4, "little"),
    LZF: _as_literals,
}


# --- all who read ---


def inspected(path: Path) -> None:
    inspector.inspect(str(path), LIMIT)


def sliced(path: Path) -> np.ndarray:
    request = slicing.Request("image", None, None, "npy", None, None, None)
    with path.open("rb") as raw, h5py.File(path) as file:
        return slicing.read(file.id, request, path.stat().st_size, lambda _: None, raw.fileno())


def sliced_from_afar(path: Path) -> np.ndarray:
    request = slicing.Request("image", 0, 3, "npy", None, None, None)
    with h5py.File(path) as file:
        return slicing.read(file.id, request, path.stat().st_size, lambda _: None)


def counted(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        found: dict[str, Any] = contents.describe(file.id, path.stat().st_size, LIMIT)["datasets"][0]["statistics"]
        return found


def ran(path: Path) -> np.ndarray:
    return np.asarray(hdf5.read(path)["image"])


def downloaded(path: Path) -> np.ndarray:
    return np.asarray(imagefiles.read_datasets(path)["image"])


def opened(path: Path) -> np.ndarray:
    """As an input that is taken apart into slices, or an output that is stacked."""
    with imagefiles.open_image(path) as source:
        return np.stack([imagefiles.read_item(source, index) for index in range(SHAPE[0])])


READERS: list[Callable[[Path], Any]] = [inspected, sliced, sliced_from_afar, counted, ran, downloaded, opened]
REFUSALS = (Refused, InvalidInput, InvalidDataset)
