"""What a caller may give as inputs, and which files it becomes on the server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxloom import imagefiles, imagerules
from voxloom.client._bodies import Body, hdf5_body
from voxloom.errors import InvalidInput
from voxloom.hdf5 import chunks
from voxloom.ids import is_id
from voxloom.imagemeta import COLOURS, Meta, item_of
from voxloom.tiffs import arranged

_WIDER_THAN_COLOURS = 16
"""Pixels: images that are wider and higher, with a last axis of 3 or 4, have their colours there."""

_ALSO_PATHS = (".hdf", ".he5", ".ims", ".mat", ".nc", ".npz", ".nxs")
"""Ends of names that are no file ids, beside those of files that we write."""

Given = Any
"""A file id (str), a path, an array, or a mapping of dataset names to arrays."""


@dataclass(frozen=True)
class FileId:
    """A file that is on the server already."""

    file_id: str


@dataclass(frozen=True)
class WholeFile:
    """An HDF5 file, sent as it is."""

    path: Path


@dataclass(frozen=True)
class Datasets:
    """One file of these datasets, which are read when it is sent."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """One file of one dataset: an item of `source` along its first axis, or all of it."""

    source: imagefiles.Source
    dataset: str
    index: int | None = None

    @property
    def meta(self) -> Meta | None:
        """What is known of its axes and sizes."""
        meta = imagefiles.meta_of(self.source)
        return meta if meta is None or self.index is None else item_of(meta, self.index, self.source.shape[0])


Upload = FileId | WholeFile | Datasets | Item


@dataclass(frozen=True)
class Plan:
    uploads: list[Upload]
    counts: list[int | None]
    """For each input: how many files its items became; None: it stays one file."""


def dataset_for(algorithm_type: str) -> str:
    """The dataset that algorithms of a type read their input from."""
    return "mask" if algorithm_type == "Segmentation2Segmentation" else "image"


def takes_slices(algorithm_type: str) -> bool:
    """Whether a volume goes to the algorithm as one file per slice."""
    return algorithm_type.startswith("Image2") or algorithm_type == "Segmentation2Segmentation"


def as_list(inputs: Given | Sequence[Given]) -> list[Given]:
    """One input or several, as a list. A str that is no UUID, and names a file here or ends like one, is a path."""
    several = isinstance(inputs, list | tuple)
    return [_as_given(one) for one in (inputs if several else [inputs])]


def _as_given(one: Given) -> Given:
    if isinstance(one, str):
        return Path(one) if not is_id(one) and _looks_like_path(one) else one
    if isinstance(one, os.PathLike):
        return Path(one)
    if isinstance(one, Mapping) or hasattr(one, "__array__"):
        return one
    raise InvalidInput(
        f"An input of type {type(one).__name__} cannot be sent; give file ids, paths, arrays or dicts of arrays."
    )


def _looks_like_path(text: str) -> bool:
    path = Path(text)
    return imagefiles.kind_of(path) is not None or path.suffix.lower() in _ALSO_PATHS or path.is_file()


@dataclass(frozen=True)
class Wanted:
    """What an algorithm takes, and what its caller says of the inputs."""

    algorithm_type: str
    dataset: str | None = None
    """What to read from an HDF5 file, and, for types that take no slices, what to write."""
    axes: str | None = None
    """Of arrays, .npy and TIFF files."""
    schema: str = ""
    """`AlgorithmRecord.input_schema`."""


@contextmanager
def plan_inputs(given: Sequence[Given], wanted: Wanted) -> Iterator[Plan]:
    """The files that the inputs become, valid inside the block (it holds the local files open).

    For a type that takes slices, an array of three axes (or four: colour) becomes one file per item of its first
    axis. Raises InvalidInput for what the algorithm would refuse.
    """
    with ExitStack() as opened:
        uploads: list[Upload] = []
        counts: list[int | None] = []
        for one in given:
            mine, count = _plan_one(one, wanted, opened)
            if wanted.schema == imagerules.SCHEMA:
                _check_image(_name_of(one), mine)
            uploads += mine
            counts.append(count)
        yield Plan(uploads, counts)


@contextmanager
def plan_whole(given: Sequence[Given], dataset: str) -> Iterator[Plan]:
    """One file for each, whatever its axes."""
    with plan_inputs(as_list(list(given)), Wanted("Undefined")) as plan:
        uploads = [replace(one, dataset=dataset) if isinstance(one, Item) else one for one in plan.uploads]
        yield Plan(uploads, plan.counts)


@contextmanager
def plan_for_key(given: Given | Sequence[Given], key: str) -> Iterator[Plan]:
    """The files under one key of a sample: a stack becomes one file per image, an HDF5 file is sent as it is."""
    with ExitStack() as opened:
        uploads: list[Upload] = []
        for one in as_list(given):
            uploads += _plan_for_key(one, key, opened)
        yield Plan(uploads, [None] * len(uploads))


def _plan_for_key(given: Given, key: str, opened: ExitStack) -> Sequence[Upload]:
    if isinstance(given, str):
        return [FileId(given)]
    if isinstance(given, Mapping):
        return [Datasets(given)]
    if not isinstance(given, Path):
        return split(imagefiles.array_of(given), key, slices=True)[0]
    if is_hdf5(given):
        return [WholeFile(given)]
    return split(opened.enter_context(imagefiles.open_image(given)), key, slices=True)[0]


def _plan_one(given: Given, wanted: Wanted, opened: ExitStack) -> tuple[Sequence[Upload], int | None]:
    if isinstance(given, str):
        return [FileId(given)], None
    if isinstance(given, Mapping):
        return [Datasets(given)], None
    slices = takes_slices(wanted.algorithm_type)
    target = dataset_for(wanted.algorithm_type) if slices else wanted.dataset or "image"
    if slices and wanted.dataset is not None and not (isinstance(given, Path) and is_hdf5(given)):
        raise _no_datasets(_name_of(given), wanted.dataset, target)
    if not isinstance(given, Path):
        pixels = imagefiles.array_of(given)
        return split(pixels if wanted.axes is None else arranged(pixels, wanted.axes), target, slices)
    if not is_hdf5(given):
        return split(opened.enter_context(imagefiles.open_image(given, axes=wanted.axes)), target, slices)
    imagefiles.refuse_axes(wanted.axes)
    if not slices:
        return [WholeFile(_checked(given, wanted.dataset))], None
    return _plan_hdf5(given, wanted.dataset, target, opened)


def is_hdf5(path: Path) -> bool:
    return imagefiles.kind_of_file(path) == "hdf5"


def _no_datasets(name: str, dataset: str, target: str) -> InvalidInput:
    return InvalidInput(
        f"The dataset {dataset!r} was asked for, but {name} is no HDF5 file. It has one image, and the algorithm gets "
        f"that as {target!r}. Leave the dataset out.",
        code="input_not_taken",
    )


def _name_of(given: Given) -> str:
    return str(given) if isinstance(given, Path) else "An input"


def _check_image(name: str, uploads: Sequence[Upload]) -> None:
    """Raises InvalidInput where the first of them, which all others are like, is no image to the algorithm."""
    if (told := _first_image(uploads)) is None:
        return
    shape, dtype = told
    if (fault := imagerules.shape_fault(shape) or imagerules.dtype_fault(dtype)) is not None:
        which = "" if len(uploads) == 1 else ", in each of its images,"
        advice = imagerules.advice(shape, dtype)
        raise InvalidInput(f"{name}{which} {fault}. Nothing was sent; {advice}.", code="input_not_taken")


def _first_image(uploads: Sequence[Upload]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and dtype, in the byte order that runners get; None where there is no image, or it is not known here."""
    first = uploads[0] if uploads else None
    if isinstance(first, WholeFile):
        with imagefiles.open_hdf5(first.path) as file:  # `_plan_hdf5` has found the dataset
            return file["image"].shape, chunks.dtype_of(file["image"]).newbyteorder("=")
    source: Any = None
    if isinstance(first, Datasets):
        source = first.values.get("image")
    elif isinstance(first, Item) and first.dataset == "image":
        source = first.source
    if not hasattr(source, "dtype"):
        return None
    shape = source.shape[1:] if isinstance(first, Item) and first.index is not None else source.shape
    return shape, np.dtype(source.dtype).newbyteorder("=")


def _plan_hdf5(path: Path, wanted: str | None, target: str, opened: ExitStack) -> tuple[Sequence[Upload], int | None]:
    with imagefiles.open_hdf5(path) as file:
        shapes = imagefiles.image_datasets(path, file, wanted or target)
    name = imagefiles.choose_dataset(path, shapes, wanted or (target if target in shapes else None))
    if name == target and len(shapes[name]) == 2:
        return [WholeFile(path)], None
    return split(opened.enter_context(imagefiles.open_image(path, name)), target, slices=True)


def _checked(path: Path, dataset: str | None) -> Path:
    """Raises InvalidInput when the file lacks the dataset that was asked for."""
    with imagefiles.open_hdf5(path) as file:
        if dataset is not None:
            imagefiles.choose_dataset(path, imagefiles.image_datasets(path, file, dataset), dataset)
    return path


def split(source: imagefiles.Source, dataset: str, slices: bool) -> tuple[Sequence[Upload], int | None]:
    """One file per item of the first axis where slices are wanted and there are any; else one file."""
    if not slices or len(source.shape) == 2 or imagefiles.is_colour(source):
        return [Item(source, dataset)], None
    _check_stack(source.shape)
    _check_axes(source)
    return [Item(source, dataset, index) for index in range(source.shape[0])], source.shape[0]


def _check_stack(shape: tuple[int, ...]) -> None:
    """Raises InvalidInput for what would be taken apart into something that nobody means."""
    if len(shape) not in (3, 4):
        raise InvalidInput(f"An input of shape {shape} is no image or volume; give two, three or four axes.")
    if 0 in shape:
        raise InvalidInput(f"An input of shape {shape} has no pixels; check what it was made from.")
    if shape[-1] in (3, 4) and min(shape[-3:-1]) >= _WIDER_THAN_COLOURS and not (len(shape) == 4 and shape[1] == 3):
        raise InvalidInput(
            f"An input of shape {shape} looks like colours on the last axis; put them before height and width: "
            "(1, 3, H, W) for one image, (N, 3, H, W) for several."
        )


def _check_axes(source: imagefiles.Source) -> None:
    """Raises InvalidInput where the items of a stack are stacks themselves, and may look like colours."""
    meta = imagefiles.meta_of(source)
    if meta is not None and len(meta.axes) == 4 and meta.axes[1] not in COLOURS:
        raise InvalidInput(
            f"An input has the axes {', '.join(meta.axes)} and the shape {source.shape}: that is more than one stack "
            f"of images. Send one {meta.axes[0]} at a time."
        )


@contextmanager
def open_body(upload: WholeFile | Datasets | Item) -> Iterator[Body]:
    """What to send for it. Blocks while it reads."""
    if isinstance(upload, WholeFile):
        yield Body(upload.path)
        return
    if isinstance(upload, Datasets):
        datasets, metas = upload.values, getattr(upload.values, "metas", {})
    else:
        datasets = {upload.dataset: imagefiles.read_item(upload.source, upload.index)}
        metas = {} if (meta := upload.meta) is None else {upload.dataset: meta}
    with hdf5_body(datasets, metas) as body:
        yield body
