"""The datasets of an HDF5 file: which there are, which one is meant, what is in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from voxloom.errors import InvalidInput
from voxloom.hdf5 import chunks, links, signatures, text
from voxloom.hdf5.refusals import Refused
from voxloom.imagefiles.kinds import require_file
from voxloom.imagemeta import ATTRIBUTE, Meta, parse

_logger = logging.getLogger("voxloom.imagefiles")
_CUSTOMARY = ("image", "volume", "data", "mask")
"""Names that datasets of images have."""


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
    return InvalidInput(f"{path} is no HDF5 file; it is {told}.") if told else no_hdf5(path)


def no_hdf5(path: Path | str) -> InvalidInput:
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
        raise no_hdf5(path) from error
    liked = ((wanted or "").strip("/"), *_CUSTOMARY)
    return {min(of_one, key=lambda one: _rank(one, liked)): shapes[at] for at, of_one in names.items()}


def _named(file: h5py.File, wanted: str | None) -> Iterator[tuple[str, Any]]:
    yield from links.datasets(file.id)
    if wanted is not None and (found := links.find_dataset(file.id, wanted)) is not None:
        yield wanted.strip("/"), found  # It may lead through a link to a group, which is not walked through.


def _rank(name: str, liked: Sequence[str]) -> int:
    return liked.index(name) if name in liked else len(liked)


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


def meta_in(dataset: h5py.Dataset) -> Meta | None:
    try:
        meta = parse(dataset.attrs.get(ATTRIBUTE))
    except (OSError, RuntimeError, TypeError, ValueError):  # an attribute that h5py has no type for is not ours
        return None
    return meta if meta is not None and len(meta.axes) == len(dataset.shape or ()) else None


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
