"""Images in local files: .h5, .npy and .tif, read item by item and written whole or item by item."""

from __future__ import annotations

import errno
import logging
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from voxloom.errors import InvalidInput, NotFound
from voxloom.hdf5 import chunks, links, signatures, text
from voxloom.hdf5.refusals import Refused
from voxloom.hdf5.slabs import Slabs
from voxloom.imagemeta import ATTRIBUTE, Meta, parse
from voxloom.tiffmeta import layout
from voxloom.tiffs import ImageArray, arranged, check_tiff, is_one_colour_image, lay_out_tiff, open_tiff

_logger = logging.getLogger(__name__)

Array = NDArray[Any]
Kind = Literal["hdf5", "npy", "tiff"]

_KINDS: dict[str, Kind] = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".npy": "npy",
    ".tif": "tiff",
    ".tiff": "tiff",
}


_CUSTOMARY = ("image", "volume", "data", "mask")
"""Names that datasets of images have."""


class Source(Protocol):
    """What an image is read from: an array, or something that reads when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class Target(Protocol):
    """What a stack is written into, one item along the first axis at a time, or, with `...`, as a whole."""

    def __setitem__(self, index: int | EllipsisType, item: Array, /) -> None: ...


def kind_of(path: Path) -> Kind | None:
    """By the name's end; None for any other name."""
    return _KINDS.get(path.suffix.lower())


def require_kind(path: Path) -> Kind:
    """Of a file to write."""
    kind = kind_of(path)
    if kind is None:
        raise InvalidInput(f"{path} is no image file Voxloom knows; use a name that ends in .h5, .npy or .tif.")
    return kind


def kind_of_file(path: Path) -> Kind:
    """Of a file to read: by its first bytes, whatever its name, and by its name where those say nothing. Raises
    InvalidInput, which says what the file is where that can be seen; NotFound."""
    with require_file(path).open("rb") as file:
        if signatures.find_hdf5(file) is not None:
            return "hdf5"
        file.seek(0)
        head = file.read(signatures.HEAD)
    if (kind := signatures.kind_by(head)) is not None:
        return kind
    if (told := signatures.told_by(head)) is not None:
        raise InvalidInput(f"{path} is {told}.")
    return require_kind(path)


def require_file(path: Path) -> Path:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; name a file in it.")
    if not path.exists():
        raise NotFound(f"There is no file {path}; check the path.", code="local_file_not_found")
    return path


# --- reading ----------------------------------------------------------------------------------------------


@contextmanager
def open_image(path: Path, dataset: str | None = None, axes: str | None = None) -> Iterator[Source]:
    """The image in a file, not yet in memory where the format allows; valid inside the block.

    `dataset` names the one to take from an HDF5 file; without it the file must leave no doubt (`choose_dataset`).
    Colours of a TIFF come before height and width; `is_colour` tells one such image from a stack. `axes` are those of
    the array in a TIFF or .npy, where the file does not say. `meta_of` tells what is known of axes and sizes.
    Raises InvalidInput, or NotFound when there is no such file.
    """
    kind = kind_of_file(path)
    if kind == "hdf5":
        refuse_axes(axes)
        with open_hdf5(path) as file:
            name = choose_dataset(path, image_datasets(path, file, dataset), dataset)
            yield Slabs(h5py.Dataset(links.find_dataset(file.id, name)))
    elif kind == "npy":
        yield _open_npy(path) if axes is None else arranged(_open_npy(path), axes)
    else:
        yield open_tiff(path, axes)


def refuse_axes(axes: str | None) -> None:
    if axes is not None:
        raise InvalidInput("Axes can be told of TIFF and .npy files, and of arrays; an HDF5 file is sent as it is.")


def is_colour(source: Source) -> bool:
    """Whether it is one colour image of three axes, which looks like a stack."""
    if isinstance(source, Slabs):
        meta = meta_of(source)
        return meta is not None and is_one_colour_image(meta.axes)
    return isinstance(source, ImageArray) and source.colour


def meta_of(source: Source) -> Meta | None:
    """What the file of a source says of axes and sizes of voxels; None where it says nothing."""
    if isinstance(source, Slabs):
        return meta_in(source.dataset)
    return source.meta if isinstance(source, ImageArray) else None


def meta_in(dataset: h5py.Dataset) -> Meta | None:
    try:
        meta = parse(dataset.attrs.get(ATTRIBUTE))
    except (OSError, RuntimeError, TypeError, ValueError):  # an attribute that h5py has no type for is not ours
        return None
    return meta if meta is not None and len(meta.axes) == len(dataset.shape or ()) else None


def read_image(path: Path, dataset: str | None = None) -> Array:
    with open_image(path, dataset) as source:
        return np.array(source[...])


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Errors in the block, too, are told as those of the file."""
    require_file(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _not_opened(path) from error
    with file, _told_of(path):
        yield file


@contextmanager
def _told_of(path: Path | str) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from error


def _not_opened(path: Path) -> InvalidInput:
    with path.open("rb") as raw:
        if signatures.is_open_for_writing(raw):
            return InvalidInput(f"{path} cannot be read: {signatures.OPEN_FOR_WRITING}.")
        raw.seek(0)
        told = signatures.told_by(raw.read(signatures.HEAD))
    return InvalidInput(f"{path} is no HDF5 file; it is {told}.") if told else _no_hdf5(path)


def _no_hdf5(path: Path | str) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read as HDF5; check that the file is whole.")


def image_datasets(path: Path, file: h5py.File, wanted: str | None = None) -> dict[str, tuple[int, ...]]:
    """Name and shape of every dataset with two axes or more, groups included, links to other files not followed.

    One with several names has the one that is `wanted`, else a customary one, else the first."""
    try:
        names: dict[int, list[str]] = {}
        shapes: dict[int, tuple[int, ...]] = {}
        for name, found in _named(file, wanted):
            shape = h5py.Dataset(found).shape
            if len(shape or ()) >= 2:
                names.setdefault(links.address(found), []).append(name)
                shapes[links.address(found)] = shape
    except (RuntimeError, KeyError, OSError) as error:  # what h5py makes of a damaged file
        raise _no_hdf5(path) from error
    liked = ((wanted or "").strip("/"), *_CUSTOMARY)
    return {min(of_one, key=lambda one: _rank(one, liked)): shapes[at] for at, of_one in names.items()}


def _named(file: h5py.File, wanted: str | None) -> Iterator[tuple[str, Any]]:
    yield from links.datasets(file.id)
    if wanted is not None and (found := links.find_dataset(file.id, wanted)) is not None:
        yield wanted.strip("/"), found  # It may lead through a link to a group, which is not walked through.


def _rank(name: str, liked: Sequence[str]) -> int:
    return liked.index(name) if name in liked else len(liked)


def read_item(source: Source, index: int | None) -> Array:
    """An item along the first axis, or all. Raises InvalidInput where the file turns out to be damaged there."""
    try:
        return np.asanyarray(source[...] if index is None else source[index])
    except (RuntimeError, OSError) as error:
        if not isinstance(source, Slabs):
            raise
        raise _no_hdf5(source.path) from error
    except Refused as error:
        if not isinstance(source, Slabs):
            raise
        raise InvalidInput(f"{source.path} cannot be read: {error}.") from error


def choose_dataset(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: str | None) -> str:
    """The one that is asked for, else the only one, else the one with a customary name."""
    names = ", ".join(shapes) or "none"
    if wanted is not None:
        if wanted.strip("/") not in shapes:
            raise InvalidInput(f"{path} has no dataset {wanted!r} with two axes or more; it has: {names}.")
        return wanted.strip("/")
    if len(shapes) == 1:
        return next(iter(shapes))
    for customary in _CUSTOMARY:
        if customary in shapes:
            return customary
    if not shapes:
        raise InvalidInput(f"{path} holds no image: no dataset has two axes or more.")
    raise InvalidInput(f"{path} has several datasets; say which one to take (--dataset, or dataset=): {names}.")


def _open_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header of a broken file is parsed as Python, which raises whatever it likes
        raise InvalidInput(f"{path} cannot be read as .npy; check that it holds one plain array.") from error
    return array


class Datasets(dict[str, Any]):
    """What is in an HDF5 file, by the datasets' names."""

    def __init__(self) -> None:
        super().__init__()
        self.metas: dict[str, Meta] = {}
        """Of those that have one."""


def read_datasets(path: Path) -> Datasets:
    """Every dataset of an HDF5 file by its path inside: arrays, `str` for one string, `list[str]` for several. One with
    several names comes once."""
    values = Datasets()
    seen: set[int] = set()
    with open_hdf5(path) as file:
        for name, found in links.datasets(file.id):
            if links.address(found) not in seen:
                seen.add(links.address(found))
                dataset = h5py.Dataset(found)
                values[name] = _value_of(path, dataset)
                if (meta := meta_in(dataset)) is not None:
                    values.metas[name] = meta
    return values


def _value_of(path: Path, dataset: h5py.Dataset) -> Any:
    dtype = chunks.dtype_of(dataset)
    if h5py.check_string_dtype(dtype) is None or dataset.shape is None:
        plain = dataset.shape and not dtype.hasobject
        return chunks.read(dataset) if plain else chunks.read_any(dataset)
    found, guessed = text.all_decoded(chunks.read_any(dataset))
    if guessed:
        _logger.warning("%s: %s", path, text.latin_1_warning(str(dataset.name)))
    return found


# --- writing ----------------------------------------------------------------------------------------------


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
