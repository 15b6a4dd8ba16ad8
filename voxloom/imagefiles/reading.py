"""Images in local files, read item by item."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from voxloom.errors import InvalidInput
from voxloom.hdf5 import links
from voxloom.hdf5.refusals import Refused
from voxloom.hdf5.slabs import Slabs
from voxloom.imagefiles.datasets import choose_dataset, image_datasets, meta_in, no_hdf5, open_hdf5
from voxloom.imagefiles.kinds import Array, kind_of_file
from voxloom.imagemeta import Meta
from voxloom.tiffs import ImageArray, arranged, is_one_colour_image, open_tiff


class Source(Protocol):
    """What an image is read from: an array, or something that reads when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


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


def read_image(path: Path, dataset: str | None = None) -> Array:
    with open_image(path, dataset) as source:
        return np.array(source[...])


def read_item(source: Source, index: int | None) -> Array:
    """An item along the first axis, or all. Raises InvalidInput where the file turns out to be damaged there."""
    try:
        return np.asanyarray(source[...] if index is None else source[index])
    except (RuntimeError, OSError) as error:
        if not isinstance(source, Slabs):
            raise
        raise no_hdf5(source.path) from error
    except Refused as error:
        if not isinstance(source, Slabs):
            raise
        raise InvalidInput(f"{source.path} cannot be read: {error}.") from error


def _open_npy(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header of a broken file is parsed as Python, which raises whatever it likes
        raise InvalidInput(f"{path} cannot be read as .npy; check that it holds one plain array.") from error
    return array
