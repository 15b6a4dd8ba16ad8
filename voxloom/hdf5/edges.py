"""Chunks that reach beyond the end of their dataset: a file may say that these alone are stored without filters.

Nothing else in the file tells, the chunk's own mask neither, and h5py does not ask for it; so the library is asked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from h5py import h5p
from h5py._objects import phil

_NOT_FILTERED = 0x0002
"""H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS."""


def are_not_filtered(plan: Any) -> bool:
    """`plan`: the creation properties of a dataset in chunks."""
    library = ctypes.PyDLL(h5p.__file__)  # As it is linked to the library, it has all of the library's names.
    found = ctypes.c_uint()
    with phil:
        failed = library.H5Pget_chunk_opts(ctypes.c_int64(plan.id), ctypes.byref(found)) < 0
    if failed:
        raise RuntimeError("the options of its chunks cannot be read")
    return bool(found.value & _NOT_FILTERED)


def is_partial(place: Sequence[int], lengths: Sequence[int], shape: Sequence[int]) -> bool:
    return any(at + length > whole for at, length, whole in zip(place, lengths, shape, strict=True))
