"""Values to HDF5 files and back.

One dataset per name at the root: contiguous, no filter, in the earliest file format, so that any HDF5 library since
1.8 reads it. No attribute but `voxloom` (`voxloom.imagemeta`), where something is known of an image.

| value                                      | dataset                                     | read as            |
|--------------------------------------------|---------------------------------------------|--------------------|
| array of numbers, bools or records         | same shape and dtype (bool: h5py's enum)    | array              |
| text, also empty                           | rank 0, variable-length UTF-8               | str                |
| list, tuple or array of texts              | the same shape, variable-length UTF-8       | list of str        |
| empty list or tuple                        | shape (0,), variable-length UTF-8           | []                 |
| list or tuple of arrays of one shape       | one dataset, the list along the first axis  | array              |
| list or tuple of numbers                   | int64, float64 or bool                      | array              |
| int, float, bool                           | rank 0: int64, float64, bool                | numpy scalar       |

Numbers are read in the byte order of this machine, whatever the file has: microscopes write both.
`voxloom.runner.schemas` turns what is read into what a schema's field asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from voxloom.imagemeta import ATTRIBUTE, Meta, parse
from voxloom.runner.exceptions import InvalidDataset, kind_of

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]
"""Gives the memory, C-contiguous, that an array of this shape and dtype is read into."""

_TEXT = h5py.string_dtype(encoding="utf-8")


def encode(name: str, value: Any) -> np.ndarray:
    """The array that goes into the dataset `name`; it shares memory with `value` where it can.

    Raises InvalidDataset for what no dataset can hold: ragged lists, dicts, dates, arrays of objects."""
    if not name or name == "." or "/" in name or "\0" in name:
        raise InvalidDataset(f"{name!r} cannot name a dataset: it must be text without a slash")
    array = _as_text(name, value) if _is_text(value) else _as_array(name, value)
    try:
        h5py.h5t.py_create(array.dtype, logical=True)
    except TypeError:
        raise InvalidDataset(
            f"{name} is an array of {array.dtype}, which HDF5 cannot hold: convert it to numbers or texts"
        ) from None
    return array


def write(path: Path, datasets: Mapping[str, np.ndarray], metas: Mapping[str, Meta] | None = None) -> None:
    """A new file with what `encode` has made."""
    with h5py.File(path, "w", libver="earliest", locking=False) as file:
        for name, array in datasets.items():
            made = file.create_dataset(name, data=array)
            if metas and name in metas:
                made.attrs[ATTRIBUTE] = metas[name].text()


def read(
    path: Path,
    names: Iterable[str] | None = None,
    allocate: Allocate = np.empty,
    metas: dict[str, Meta] | None = None,
) -> dict[str, Any]:
    """The datasets of those names that the file has at its root, or all; groups are passed over.

    `metas` is filled with what datasets say of their axes and sizes. Arrays are the caller's own and writable. Raises
    InvalidDataset if the file is no HDF5 file."""
    with _open(path) as file:
        found = {name: file.get(name) for name in (file if names is None else names)}
        if metas is not None:
            metas.update(_metas(found))
        return {name: read_dataset(item, allocate) for name, item in found.items() if isinstance(item, h5py.Dataset)}


def names_in(path: Path) -> list[str]:
    """The datasets at the root of a file."""
    with _open(path) as file:
        return [name for name in file if isinstance(file.get(name), h5py.Dataset)]


def _metas(found: Mapping[str, Any]) -> Iterator[tuple[str, Meta]]:
    for name, item in found.items():
        if isinstance(item, h5py.Dataset) and ATTRIBUTE in item.attrs and (meta := parse(_attribute(item))) is not None:
            yield name, meta


def _attribute(dataset: h5py.Dataset) -> Any:
    try:
        return dataset.attrs[ATTRIBUTE]
    except (OSError, TypeError, ValueError):  # of a type that h5py does not know: another program's
        return None


def read_dataset(dataset: h5py.Dataset, allocate: Allocate = np.empty) -> Any:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return _read_text(dataset)
    if dataset.shape is None:
        return None
    if dataset.shape == () or dataset.dtype.hasobject:
        return dataset[()]
    dtype = dataset.dtype if dataset.dtype.isnative else dataset.dtype.newbyteorder("=")
    array = allocate(dataset.shape, dtype)
    if array.size:
        dataset.read_direct(array)
    return array


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if not path.is_file() or h5py.is_hdf5(path):
            raise
        raise InvalidDataset("The file is no HDF5 file: upload one that h5py can open.") from error


def _read_text(dataset: h5py.Dataset) -> str | list[Any] | None:
    try:
        value = dataset.asstr()[()]
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{dataset.name} holds text that is not UTF-8: write it as UTF-8") from error
    if isinstance(value, h5py.Empty):
        return None
    text: str | list[Any] = value.tolist() if isinstance(value, np.ndarray) else value
    return text


def _is_text(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "UST"
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) for item in value)  # so is the empty list
    return isinstance(value, str | bytes)


def _as_text(name: str, value: Any) -> np.ndarray:
    try:
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, np.ndarray) and value.dtype.kind == "S":
            value = np.strings.decode(value, "utf-8")
        array = np.empty(np.shape(value), _TEXT)
        array[...] = value
        encoded = [str(text).encode() for text in array.flat]
    except UnicodeError as error:
        raise InvalidDataset(f"{name} holds text that is not UTF-8: {error}") from error
    if any(b"\0" in text for text in encoded):
        raise InvalidDataset(f"{name} holds text with a NUL character, which HDF5 cannot store: remove it")
    return array


def _as_array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray | np.generic | list | tuple | bool | int | float | complex):
        raise InvalidDataset(
            f"{name} is {kind_of(value)}, which no dataset can hold: give an array, a number, a text or a list"
        )
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind in "OUST":
        raise InvalidDataset(
            f"{name} is {_describe(value)}: one dataset holds arrays of one shape, or numbers only, or texts only"
        )
    return array


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return f"an array of {value.dtype}"
    if isinstance(value, list | tuple):
        return f"{kind_of(value)} whose items do not fit together"
    return f"{kind_of(value)}, {value!r}"
