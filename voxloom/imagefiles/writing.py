"""Images and datasets in local files, written whole or item by item."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any, Protocol

import h5py
import numpy as np

from voxloom.errors import InvalidInput
from voxloom.imagefiles.kinds import Array, require_kind
from voxloom.imagemeta import ATTRIBUTE, Meta
from voxloom.tiffmeta import layout
from voxloom.tiffs import check_tiff, lay_out_tiff


class Target(Protocol):
    """What a stack is written into, one item along the first axis at a time, or, with `...`, as a whole."""

    def __setitem__(self, index: int | EllipsisType, item: Array, /) -> None: ...


def write_datasets(path: Path, values: Mapping[str, Any], metas: Mapping[str, Meta] | None = None) -> None:
    """Writes an HDF5 file that any reader opens: contiguous, no filter. Values are arrays, numbers, strings or
    lists of them; None is left out."""
    with replacing(path) as draft, h5py.File(draft, "w") as file:
        for name, value in values.items():
            if value is not None:
                put_dataset(file, name, value)
                put_meta(file[name], (metas or {}).get(name))


def put_meta(dataset: h5py.Dataset, meta: Meta | None) -> None:
    if meta is not None:
        dataset.attrs[ATTRIBUTE] = meta.text()


def array_of(value: Any) -> np.ndarray[Any, Any]:
    """Raises InvalidInput for a masked array, whose mask would get lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInput(
            "A masked array cannot be kept in a file, as files have no masks. Fill the masked values "
            "(`array.filled(0)`), or give the mask as a dataset: `{'image': array.data, 'mask': array.mask}`."
        )
    return np.asanyarray(value)


def put_dataset(file: h5py.File, name: str, value: Any) -> None:
    array = np.asarray(array_of(value))
    if array.dtype.kind == "U" or (array.size == 0 and isinstance(value, list)):
        file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
        return
    try:
        file.create_dataset(name, data=array)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"Dataset {name!r} ({array.dtype}) cannot be kept as HDF5; give an array of numbers."
        ) from error


def write_image(
    path: Path, image: Array, dataset: str = "image", *, colour: bool = False, meta: Meta | None = None
) -> None:
    """Writes one array in the format that the name's end asks for; nothing is left behind when it fails.

    `colour`: the third axis from the end is that of red, green and blue.
    """
    if require_kind(path) == "hdf5":
        write_datasets(path, {dataset: image}, {} if meta is None else {dataset: meta})
        return
    with _array_writer(path, image.shape, image.dtype, dataset, colour, meta) as target:
        target[...] = image


@contextmanager
def stack_writer(
    path: Path, shape: tuple[int, ...], dtype: Any, dataset: str = "image", meta: Meta | None = None
) -> Iterator[Target]:
    """A file for an array of that shape, filled item by item in any order, so that the whole is never in memory.

    The file appears under its name when the block is left without an error. Items of (3, H, W) are colour images.
    """
    colour = len(shape) == 4 and shape[1] == 3
    with _array_writer(path, shape, np.dtype(dtype), dataset, colour, meta) as target:
        yield target


@contextmanager
def _array_writer(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], dataset: str, colour: bool, meta: Meta | None
) -> Iterator[Target]:
    kind = require_kind(path)
    if kind == "tiff":
        check_tiff(path, shape, dtype)
        dtype = dtype.newbyteorder("=")  # that of the file, which tifffile chooses by the kind of TIFF
    with replacing(path) as draft:
        check_room(path, math.prod(shape) * dtype.itemsize)
        if kind == "hdf5":
            with h5py.File(draft, "w") as file:
                made = file.create_dataset(dataset, shape=shape, dtype=dtype)
                put_meta(made, meta)
                yield made
            return
        if kind == "npy":
            begin = _lay_out_npy(draft, shape, dtype)
        else:
            begin = lay_out_tiff(draft, shape, dtype, layout(path, shape, dtype, meta, colour=colour))
        with draft.open("r+b", buffering=0) as raw:
            yield _Placed(raw.fileno(), begin, shape, dtype)


class _Placed:
    """An array in a file. It is written, not mapped: in a map, a disk that is full ends the process."""

    def __init__(self, descriptor: int, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._descriptor = descriptor
        self._begin = begin
        self._dtype = dtype
        self._item_bytes = math.prod(shape[1:]) * dtype.itemsize

    def __setitem__(self, index: int | EllipsisType, item: Array, /) -> None:
        at = self._begin if isinstance(index, EllipsisType) else self._begin + index * self._item_bytes
        left = np.ascontiguousarray(item, self._dtype).reshape(-1).view(np.uint8).data
        while left:
            written = os.pwrite(self._descriptor, left, at)
            left, at = left[written:], at + written


def _lay_out_npy(draft: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    with draft.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()
        file.truncate(begin + math.prod(shape) * dtype.itemsize)
    return begin


def check_room(path: Path, size: int) -> None:
    """Raises OSError (ENOSPC) where the disk has no room for so many bytes, before they are made."""
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a draft, beside `path` and with its suffix; it takes the place of `path` when the block is left
    without an error, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
