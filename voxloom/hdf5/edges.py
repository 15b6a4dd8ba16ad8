"""Chunks that reach beyond the end of their dataset: a file may say that these alone are stored without filters.

Nothing else in the file tells, the chunk's own mask neither, and h5py does not ask for it; so the library is asked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from voxloom.hdf5.library import NotAsked, ask

_NOT_FILTERED = 0x0002
"""H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS."""


def are_not_filtered(plan: Any) -> bool:
    """`plan`: the creation properties of a dataset in chunks."""
    try:
        found = ask("H5Pget_chunk_opts", plan.id, ctypes.c_uint())
    except NotAsked:  # Few programs write such files.
        return False
    return bool(found & _NOT_FILTERED)


def is_partial(place: Sequence[int], lengths: Sequence[int], shape: Sequence[int]) -> bool:
    return any(at + length > whole for at, length, whole in zip(place, lengths, shape, strict=True))
