"""Questions to the HDF5 library for which h5py has no function."""

from __future__ import annotations

import ctypes
from typing import TypeVar

from h5py import h5p
from h5py._objects import phil

Answer = TypeVar("Answer", ctypes.c_int, ctypes.c_uint)


class NotAsked(RuntimeError):
    """The library cannot be asked on this system, or has refused to answer."""


def ask(function: str, identifier: int, answer: Answer) -> int:
    """What a function says that writes into `answer`. `identifier`: of what h5py holds open. Raises NotAsked."""
    try:
        library = ctypes.PyDLL(h5p.__file__)  # As it is linked to the library, it has all of the library's names.
        getter = getattr(library, function)
    except (OSError, AttributeError) as error:
        raise NotAsked(f"{function} was not found: {error}") from error
    with phil:
        failed = getter(ctypes.c_int64(identifier), ctypes.byref(answer)) < 0
    if failed:
        raise NotAsked(f"{function} has failed")
    return int(answer.value)
