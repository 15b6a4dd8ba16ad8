"""Values of datasets, read so that none comes from anywhere but the file.

Chunks that are packed with gzip, shuffled or have checksums are unpacked here, those that nobody packed are taken as
they are. What only the library can unpack or convert is looked at first and then read by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from h5py import h5d, h5t
from numpy.typing import NDArray

from voxloom.hdf5 import growing
from voxloom.hdf5.edges import is_partial
from voxloom.hdf5.filters import ALL_LEFT_OUT, Pipeline, pipeline_of
from voxloom.hdf5.refusals import Refused, quoted
from voxloom.hdf5.storage import check_storage, sources
from voxloom.hdf5.unpacking import Bytes, Wrong, wrong_size

Array = NDArray[Any]
Place = tuple[int, ...]
Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]
"""Gives the memory, C-contiguous, that an array of this shape and dtype is read into."""
Bounds = list[tuple[int, int]]
Stored = dict[Place, Any]
"""Chunks by where they begin (which may not be their `chunk_offset`: see `growing`), as h5py tells of them: `size`,
`byte_offset`."""
MOST_STORED = 2
"""Times its unpacked size, and a little, that a stored chunk may have."""
_SPARE = 1 << 12
MOST_LOOKED_AT = 200_000
"""Chunks of a dataset, where not all have to be."""


@dataclass(frozen=True)
class Part:
    """What is read of an array: `index` along `axis`, from there `count` where it is given, or (all None) all of it."""

    axis: int | None = None
    index: int | None = None
    count: int | None = None

    def bounds(self, shape: tuple[int, ...]) -> Bounds:
        """From where up to where, along each axis."""
        whole = [(0, length) for length in shape]
        if self.axis is not None and self.index is not None:
            whole[self.axis] = (self.index, self.index + (1 if self.count is None else self.count))
        return whole

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        kept = [stop - start for start, stop in self.bounds(whole)]
        if self.axis is not None and self.count is None:
            del kept[self.axis]
        return tuple(kept)

    def key(self, rank: int) -> tuple[slice | int, ...]:
        key: list[slice | int] = [slice(None)] * rank
        if self.axis is not None and self.index is not None:
            key[self.axis] = self.index if self.count is None else slice(self.index, self.index + self.count)
        return tuple(key)


ALL = Part()


def read(
    dataset: Any,
    part: Part = ALL,
    *,
    dtype: np.dtype[Any] | None = None,
    allocate: Allocate = np.empty,
    stored: Stored | None = None,
) -> Array:
    """The values of an h5py.Dataset of numbers or records, by default in the file's dtype. `stored`: the chunks of the
    part, where they are known already.

    Raises Refused, and OSError or RuntimeError as h5py does for damaged files."""
    plan = dataset.id.get_create_plist()
    check_storage(str(dataset.name), dataset.id, plan)
    found: Array = allocate(part.shape(dataset.shape), np.dtype(dataset.dtype if dtype is None else dtype))
    if plan.get_layout() == h5d.CHUNKED:
        pipeline = pipeline_of(str(dataset.name), plan, dataset.id.get_type().get_size())
        if pipeline.filters and pipeline.is_ours and _is_raw(dataset):
            Chunks(dataset, pipeline).read_into(found, part, stored)
            return found
    verify(dataset, part, stored)
    if plan.get_layout() != h5d.CONTIGUOUS or dataset.id.get_offset() is None:
        found[...] = fill_value(dataset)  # The library skips what was never written where the file tells it to.
    if found.size:
        dataset.read_direct(found, part.key(dataset.ndim))
    return found


def read_any(dataset: Any) -> Any:
    """All values as h5py gives them: for scalars, texts, references, and lists of any length."""
    verify(dataset)
    return dataset[()]


def verify(dataset: Any, part: Part = ALL, stored: Stored | None = None) -> None:
    """Raises Refused unless the library can read that part without using memory that is not the file's."""
    plan = dataset.id.get_create_plist()
    check_storage(str(dataset.name), dataset.id, plan)
    if plan.get_layout() == h5d.VIRTUAL:
        for name, source in sources(str(dataset.name), dataset.id, plan):
            verify_chunks(name, source)
    else:
        bounds = part.bounds(dataset.shape or ())
        verify_chunks(str(dataset.name), dataset.id, bounds, stored=stored)


def verify_chunks(
    name: str,
    dataset: Any,
    bounds: Bounds | None = None,
    *,
    most: int | None = None,
    stored: Stored | None = None,
) -> int:
    """Looks at the chunks within the bounds, and returns how many bytes it has unpacked. With `most`, only at the first
    of them: up to so many bytes, and up to MOST_LOOKED_AT chunks. `dataset`: its low-level id. Raises Refused."""
    plan = dataset.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED:
        return 0
    pipeline = pipeline_of(name, plan, dataset.get_type().get_size())
    if stored is None:
        stored = stored_chunks(dataset, bounds, most=None if most is None else MOST_LOOKED_AT)
    seen = 0
    for place, one in stored.items():
        if pipeline.filters and most is not None and seen >= most:
            break
        seen += _verify_chunk(name, dataset, pipeline, place, one.size)
    return seen


def _verify_chunk(name: str, dataset: Any, pipeline: Pipeline, place: Place, size: int) -> int:
    with _told(name, place):
        _check_stored(pipeline, size)
        if not pipeline.filters:
            return 0
        mask, raw = _stored_chunk(dataset, pipeline, place)
        pipeline.check(raw, mask)
    return pipeline.size


def _stored_chunk(dataset: Any, pipeline: Pipeline, place: Place) -> tuple[int, Bytes]:
    """Which filters it is without, as a mask, and its bytes. `dataset`: its low-level id."""
    mask, raw = dataset.read_direct_chunk(place)
    if pipeline.edges_as_they_are and is_partial(place, dataset.get_create_plist().get_chunk(), dataset.shape):
        mask = ALL_LEFT_OUT
    return mask, raw


def stored_chunks(dataset: Any, bounds: Bounds | None = None, *, most: int | None = None) -> Stored:
    """The chunks that were written and have values within the bounds, or the first of them, up to `most`. One walk over
    all: to ask for each makes the library walk each time."""
    found: list[Any] = []

    def note(one: Any) -> bool | None:
        found.append(one)
        return True if len(found) == most else None

    if dataset.get_storage_size():
        dataset.chunk_iter(note)
    lengths = tuple(map(int, dataset.get_create_plist().get_chunk()))
    whole = [(0, int(length)) for length in dataset.get_space().get_simple_extent_dims()]
    corrected = growing.correction_of(dataset) or (lambda told: told)
    placed = ((corrected(one.chunk_offset), one) for one in found)
    return {place: one for place, one in placed if _crosses(place, lengths, bounds or whole)}


def _crosses(place: Place, lengths: Place, bounds: Bounds) -> bool:
    return all(
        start < stop and start - length < at < stop
        for at, length, (start, stop) in zip(place, lengths, bounds, strict=True)
    )


@contextmanager
def _told(name: str, place: Place) -> Iterator[None]:
    try:
        yield
    except Wrong as error:
        which = f"a chunk of {quoted(name)}, at ({', '.join(map(str, place))}),"
        raise Refused(f"{which} {error}: the file is damaged; copy or write it anew") from error


def _check_stored(pipeline: Pipeline, size: int) -> None:
    if size > MOST_STORED * pipeline.size + _SPARE or (not pipeline.filters and size != pipeline.size):
        raise wrong_size(size, pipeline.size)


class Chunks:
    """Of a dataset, unpacked without the library."""

    def __init__(self, dataset: Any, pipeline: Pipeline) -> None:
        self._dataset = dataset
        self._pipeline = pipeline
        self._id = dataset.id
        self._name = str(dataset.name)
        self._dtype = np.dtype(dataset.dtype)
        self._lengths: Place = dataset.chunks

    def read_into(self, found: Array, part: Part, stored: Stored | None = None) -> None:
        """Raises Refused."""
        bounds = part.bounds(self._dataset.shape)
        if stored is None:
            stored = stored_chunks(self._id, bounds) if found.size else {}
        if len(stored) < math.prod(_crossed(bounds, self._lengths)):
            found[...] = fill_value(self._dataset)
        for place, one in stored.items():
            there, here = _overlap(place, self._lengths, bounds, part)
            found[here] = self._chunk(place, one.size)[there]

    def _chunk(self, place: Place, size: int) -> Array:
        with _told(self._name, place):
            _check_stored(self._pipeline, size)
            mask, raw = _stored_chunk(self._id, self._pipeline, place)
            data = self._pipeline.unpack(raw, mask)
        if self._dtype == np.bool_:
            return np.asarray(np.frombuffer(data, np.uint8).reshape(self._lengths) != 0)
        return np.frombuffer(data, self._dtype).reshape(self._lengths)


def _crossed(bounds: Bounds, lengths: Place) -> Iterator[int]:
    """How many chunks, along each axis."""
    return (-(-stop // length) - start // length for (start, stop), length in zip(bounds, lengths, strict=True))


def _overlap(
    place: Place, lengths: Place, bounds: Bounds, part: Part
) -> tuple[tuple[slice | int, ...], tuple[slice, ...]]:
    """Which part of a chunk is wanted, and where in what is read it belongs."""
    there: list[slice | int] = []
    here = []
    for axis, (at, length, (start, stop)) in enumerate(zip(place, lengths, bounds, strict=True)):
        first, last = max(at, start), min(at + length, stop)
        if axis == part.axis and part.count is None:
            there.append(first - at)
        else:
            there.append(slice(first - at, last - at))
            here.append(slice(first - start, last - start))
    return tuple(there), tuple(here)


def dtype_of(dataset: Any) -> np.dtype[Any]:
    """Of an h5py.Dataset. Raises Refused where numpy has none for it."""
    try:
        found: np.dtype[Any] = np.dtype(dataset.dtype)
    except (TypeError, ValueError) as error:
        told = f"the values of {quoted(str(dataset.name))} have a type that numpy does not know"
        raise Refused(f"{told}; write them as numbers of 1, 2, 4 or 8 bytes") from error
    return found


def fill_value(dataset: Any) -> Any:
    """What values are that were never written: as the file says, else zero."""
    if dataset.id.get_create_plist().fill_value_defined() == h5d.FILL_VALUE_UNDEFINED:
        return np.zeros((), dataset.dtype)[()]
    return dataset.fillvalue


def _is_raw(dataset: Any) -> bool:
    """Whether the bytes of its chunks, unpacked, are those of a numpy array."""
    try:
        dtype = np.dtype(dataset.dtype)
        if dtype.hasobject or dtype.subdtype is not None or dtype.kind not in "biufcV":
            return False
        return bool(dataset.id.get_type().equal(h5t.py_create(dtype, logical=True)))
    except (TypeError, ValueError):
        return False
