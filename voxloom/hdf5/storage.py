"""Where the values of a dataset lie: all of them in its file, and none elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from h5py import h5d, h5i, h5s

from voxloom.hdf5 import links
from voxloom.hdf5.refusals import Refused, quoted

MOST_SOURCES = 10_000
ADVICE = "open it with h5py and write its datasets into a new file"


def check_storage(name: str, dataset: Any, plan: Any, size: int | None = None) -> None:
    """`dataset`: its low-level id; `size`: of the file in bytes. Raises Refused."""
    layout = plan.get_layout()
    if plan.get_external_count() > 0:
        raise Refused(f"{quoted(name)} has its data in another file; {ADVICE}")
    if layout == h5d.VIRTUAL:
        for _ in sources(name, dataset, plan):
            pass
        return
    if layout == h5d.CONTIGUOUS:
        _check_piece(name, dataset, size)
    elif layout == h5d.COMPACT and dataset.get_storage_size() < _declared(dataset):
        raise _not_there(name)


def _check_piece(name: str, dataset: Any, size: int | None) -> None:
    offset, stored = dataset.get_offset(), dataset.get_storage_size()
    if offset is None:
        return  # Nothing was written yet: all is the fill value.
    if stored < _declared(dataset) or (size is not None and offset + stored > size):
        raise _not_there(name)


def _not_there(name: str) -> Refused:
    return Refused(f"the data of {quoted(name)} is not all there; upload it again")


def _declared(dataset: Any) -> int:
    return points_of(dataset.get_space()) * int(dataset.get_type().get_size())


def points_of(space: Any) -> int:
    if space.get_simple_extent_type() == h5s.NULL:
        return 0
    return math.prod(map(int, space.get_simple_extent_dims())) if space.get_simple_extent_ndims() else 1


def sources(name: str, dataset: Any, plan: Any) -> Iterator[tuple[str, Any]]:
    """Name and low-level id of the datasets that a virtual one is put together from, each once.

    Raises Refused for those in other files, and for those that are virtual again."""
    count = plan.get_virtual_count()
    if count > MOST_SOURCES:
        raise Refused(f"{quoted(name)} is put together from {count} parts; {ADVICE}")
    file = h5i.get_file_id(dataset)
    for source in dict.fromkeys(_source_name(name, plan, index) for index in range(count)):
        found = links.find_dataset(file, source)
        if found is None:
            continue  # There its values are the fill value.
        inner = found.get_create_plist()
        if inner.get_layout() == h5d.VIRTUAL:
            raise Refused(f"{quoted(name)} is put together from a virtual dataset; {ADVICE}")
        check_storage(source, found, inner)
        yield source, found


def _source_name(name: str, plan: Any, index: int) -> str:
    if plan.get_virtual_filename(index) != ".":
        raise Refused(f"{quoted(name)} is a virtual dataset, with its data in another file; {ADVICE}")
    source = str(plan.get_virtual_dsetname(index))
    if "%" in source:
        raise Refused(f"{quoted(name)} is a virtual dataset of sources with numbers in their names; {ADVICE}")
    return source
