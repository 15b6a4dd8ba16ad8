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

Numbers are read in the byte order of this machine, whatever the file has: microscopes write both. Text is UTF-8,
whatever the file declares; what is not is read as Latin-1, with a warning.
`voxloom.runner.schemas` turns what is read into what a schema's field asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from voxloom.hdf5 import chunks, links, signatures, text
from voxloom.hdf5.chunks import Allocate as Allocate
from voxloom.hdf5.refusals import Refused
from voxloom.imagemeta import ATTRIBUTE, Meta, parse
from voxloom.runner.exceptions import InvalidDataset, kind_of

Warn = Callable[[str], None]

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


def _silent(_text: str) -> None:
    """Nobody listens."""


def read(
    path: Path,
    names: Iterable[str] | None = None,
    allocate: Allocate = np.empty,
    warn: Warn = _silent,
    metas: dict[str, Meta] | None = None,
) -> dict[str, Any]:
    """The datasets of those names that the file has, by default all at its root; groups are passed over.

    `metas` is filled with what datasets say of their axes and sizes. Arrays are the caller's own and writable. Raises
    InvalidDataset if the file is no HDF5 file, or holds what must not be read."""
    with _open(path) as file:
        ids = {name: links.find_dataset(file.id, name) for name in (file if names is None else names)}
        found = {name: h5py.Dataset(one) for name, one in ids.items() if one is not None}
        if metas is not None:
            metas.update(_metas(found))
        return {name: read_dataset(one, allocate, warn) for name, one in found.items()}


def names_in(path: Path) -> list[str]:
    """The datasets at the root of a file."""
    with _open(path) as file:
        return [name for name in file if links.find_dataset(file.id, name) is not None]


def _metas(found: Mapping[str, h5py.Dataset]) -> Iterator[tuple[str, Meta]]:
    for name, item in found.items():
        if ATTRIBUTE in item.attrs and (meta := parse(_attribute(item))) is not None:
            yield name, meta


def _attribute(dataset: h5py.Dataset) -> Any:
    try:
        return dataset.attrs[ATTRIBUTE]
    except (OSError, TypeError, ValueError):  # of a type that h5py does not know: another program's
        return None


def read_dataset(dataset: h5py.Dataset, allocate: Allocate = np.empty, warn: Warn = _silent) -> Any:
    stored = chunks.dtype_of(dataset)
    if h5py.check_string_dtype(stored) is not None:
        return _read_text(dataset, warn)
    if dataset.shape is None:
        return None
    if dataset.shape == () or stored.hasobject:
        return chunks.read_any(dataset)
    dtype = stored if stored.isnative else stored.newbyteorder("=")
    return chunks.read(dataset, dtype=dtype, allocate=allocate)


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise _not_opened(path) or error from error
    try:
        with file:
            yield file
    except Refused as error:
        raise InvalidDataset(f"The file cannot be read: {error}.") from error


def _not_opened(path: Path) -> InvalidDataset | None:
    """What is said of a file that is no HDF5 file, or is open elsewhere."""
    if not path.is_file():
        return None
    with path.open("rb") as raw:
        if signatures.is_open_for_writing(raw):
            return InvalidDataset(f"The file cannot be read: {signatures.OPEN_FOR_WRITING}.")
        if signatures.find_hdf5(raw) is not None:
            return None
        raw.seek(0)
        told = signatures.told_by(raw.read(signatures.HEAD))
    return InvalidDataset(f"The file is no HDF5 file: {f'it is {told}' if told else 'upload one that h5py can open'}.")


def _read_text(dataset: h5py.Dataset, warn: Warn) -> str | list[Any] | None:
    value = chunks.read_any(dataset)
    if isinstance(value, h5py.Empty):
        return None
    found: str | list[Any]
    found, guessed = text.all_decoded(value)
    if guessed:
        warn(text.latin_1_warning(str(dataset.name)))
    return found


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
