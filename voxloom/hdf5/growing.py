"""Where the chunks lie of datasets that may grow without end along one axis, which is not the first.

In its newest format the library counts those chunks with that axis first, and tells their places (`chunk_iter`,
`get_chunk_info`; not `read_direct_chunk`) as if it had counted them in the usual order.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any

import h5py
from h5py import h5s

from voxloom.hdf5.library import NotAsked, ask
from voxloom.hdf5.refusals import Refused

Place = tuple[int, ...]

_EXTENSIBLE_ARRAY = 4
"""H5D_CHUNK_IDX_EARRAY."""


def correction_of(dataset: Any) -> Callable[[Place], Place] | None:
    """Makes the place of a chunk out of the one that the library tells; None where that is right. `dataset`: its
    low-level id."""
    limits = tuple(map(int, dataset.get_space().get_simple_extent_dims(True)))
    if limits.count(h5s.UNLIMITED) != 1 or limits[0] == h5s.UNLIMITED:
        return None
    if not _are_told_wrong() or not _is_extensible_array(dataset):
        return None
    return _correction(limits, tuple(map(int, dataset.get_create_plist().get_chunk())))


def _correction(limits: Place, lengths: Place) -> Callable[[Place], Place]:
    growing = limits.index(h5s.UNLIMITED)
    counts = [-(-limit // length) for limit, length in zip(limits, lengths, strict=True)]
    behind = range(growing + 1, len(limits))
    others = [axis for axis in range(len(limits)) if axis != growing]

    def corrected(told: Place) -> Place:
        number = told[growing] // lengths[growing]
        for axis in behind:
            number = number * counts[axis] + told[axis] // lengths[axis]
        place = list(told)
        for axis in reversed(others):
            number, at = divmod(number, counts[axis])
            place[axis] = at * lengths[axis]
        place[growing] = number * lengths[growing]
        return tuple(place)

    return corrected


def _is_extensible_array(dataset: Any) -> bool:
    try:
        return ask("H5Dget_chunk_index_type", dataset.id, ctypes.c_int()) == _EXTENSIBLE_ARRAY
    except NotAsked as error:
        raise Refused(
            "where the chunks of a dataset lie that can grow along another axis than the first cannot be asked on this "
            "system; write it again without a `maxshape`"
        ) from error


@cache
def _are_told_wrong() -> bool:
    """A later library may tell them right."""
    with h5py.File(f"growing-{secrets.token_hex(8)}", "w", driver="core", backing_store=False, libver="latest") as file:
        dataset = file.create_dataset("x", (2, 1), "u1", chunks=(1, 1), maxshape=(2, None), data=[[0], [0]])
        places: list[Place] = []
        dataset.id.chunk_iter(lambda one: places.append(one.chunk_offset))
    return places != [(0, 0), (1, 0)]
