"""Which format a file of images has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from voxloom.errors import InvalidInput, NotFound
from voxloom.hdf5 import signatures

Array = NDArray[Any]
Kind = Literal["hdf5", "npy", "tiff"]
_KINDS: dict[str, Kind] = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".npy": "npy",
    ".tif": "tiff",
    ".tiff": "tiff",
}


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
