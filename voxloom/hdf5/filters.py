"""The filters of a dataset: which may be there, in which order, and what they make of a stored chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from h5py import h5z

from voxloom.hdf5 import edges, packed, unpacking
from voxloom.hdf5.lzf import Unpacker
from voxloom.hdf5.packed import Unsized
from voxloom.hdf5.refusals import Refused, quoted
from voxloom.hdf5.unpacking import Bytes, Wrong

DEFLATE, SHUFFLE, FLETCHER32, SZIP, NBIT, SCALEOFFSET, LZF = 1, 2, 3, 4, 5, 6, 32000
NAMES = {
    DEFLATE: "gzip",
    SHUFFLE: "shuffle",
    FLETCHER32: "fletcher32",
    SZIP: "szip",
    NBIT: "nbit",
    SCALEOFFSET: "scaleoffset",
    LZF: "lzf",
    # Those of others, as registered with the HDF Group.
    305: "LZO",
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32022: "LERC",
    32023: "Granular BitRound",
    32024: "SZ3",
    32026: "Blosc2",
    32029: "HTJ2K",
}
READABLE = frozenset({DEFLATE, SHUFFLE, FLETCHER32, NBIT, SCALEOFFSET, LZF})
MOST = 8
ALL_LEFT_OUT = (1 << MOST) - 1
"""The mask of a chunk to which no filter was applied."""
ADVICE = "write it anew with gzip or without a filter: `h5repack -f GZIP=4 OLD NEW`, where the filter is installed"
_PACKING = frozenset({DEFLATE, LZF})
_NARROWING = frozenset({NBIT, SCALEOFFSET})
_SPARE = 64
"""Bytes that filters without compression may add."""
_HEAD = 64


@dataclass(frozen=True)
class Filter:
    code: int
    values: tuple[int, ...] = ()
    label: str = ""
    """As the file calls it."""

    @property
    def name(self) -> str:
        return NAMES.get(self.code) or self.label or "no name"


@dataclass(frozen=True)
class Pipeline:
    """What is done, filter by filter, to chunks of `count` values of `width` bytes as they are stored."""

    filters: tuple[Filter, ...]
    count: int
    width: int
    edges_as_they_are: bool = False
    """Whether no filter was applied to chunks that reach beyond the end of the dataset, whatever their mask says."""
    lzf: Unpacker = field(default_factory=Unpacker, compare=False)

    @property
    def size(self) -> int:
        """Of a chunk before its filters, in bytes."""
        return self.count * self.width

    @property
    def is_ours(self) -> bool:
        """Whether `unpack` can do without the library."""
        return not any(one.code in _NARROWING for one in self.filters)

    def unpack(self, stored: Bytes, mask: int) -> Bytes:
        """The bytes of a chunk, `size` in number. `mask` has a bit for each filter that was left out.

        Raises Wrong."""
        data = stored
        for one, size in reversed(self._applied(mask)):
            data = self._undone(one, data, size)
        if len(data) != self.size:
            raise unpacking.wrong_size(len(data), self.size)
        return data

    def check(self, stored: Bytes, mask: int) -> None:
        """As `unpack`, but in little memory, and for all filters that are readable. Raises Wrong."""
        data = stored
        for one, size in reversed(self._applied(mask)):
            if one.code in _NARROWING:
                return self._check_narrowed(one, data)
            if one.code == DEFLATE and size is not None:  # What was before it has not changed the size.
                return unpacking.check_deflated(data, size)
            data = self._undone(one, data, size)
        if len(data) != self.size:
            raise unpacking.wrong_size(len(data), self.size)
        return None

    def _applied(self, mask: int) -> list[tuple[Filter, int | None]]:
        """In the order of writing, each with the bytes that it was given, where that is known."""
        size: int | None = self.size
        applied = []
        for at, one in enumerate(self.filters):
            if mask >> at & 1:
                continue
            applied.append((one, size))
            if one.code != SHUFFLE:
                size = size + 4 if size is not None and one.code == FLETCHER32 else None
        return applied

    def _undone(self, one: Filter, data: Bytes, size: int | None) -> Bytes:
        if one.code == SHUFFLE:
            return unpacking.unshuffle(data, one.values[0])
        if one.code == FLETCHER32:
            return unpacking.without_checksum(data)
        if size is None:
            return unpacking.inflate_up_to(data, self.size + _SPARE)
        return self.lzf.unpack(data, size) if one.code == LZF else unpacking.inflate(data, size)

    def _check_narrowed(self, one: Filter, data: Bytes) -> None:
        try:
            if one.code == NBIT:
                least = packed.nbit_size(one.values, self.count, self.width)
            else:
                least = packed.scaleoffset_size(bytes(data[:_HEAD]), self.count, self.width)
        except Unsized as error:
            raise Wrong(f"cannot be unpacked ({one.name}: {error})") from error
        if len(data) < least:
            raise unpacking.wrong_size(len(data), least)


def pipeline_of(name: str, plan: Any, width: int) -> Pipeline:
    """`plan`: the creation properties of a dataset in chunks; `width`: of a value as it is stored, in bytes.

    Raises Refused for filters that are not readable, and for those whose bytes cannot be counted."""
    filters = filters_of(name, plan)
    edges_as_they_are = bool(filters) and edges.are_not_filtered(plan)
    pipeline = Pipeline(filters, math.prod(map(int, plan.get_chunk())), width, edges_as_they_are)
    try:
        _check_order([one.code for one in filters])
        for one in filters:
            _check_values(one, pipeline)
    except Unsized as error:
        chain = ", ".join(one.name for one in filters)
        raise Refused(f"the filters of {quoted(name)} ({chain}) cannot be undone safely: {error}; {ADVICE}") from error
    return pipeline


def filters_of(name: str, plan: Any) -> tuple[Filter, ...]:
    """Raises Refused for those that are not readable."""
    count = plan.get_nfilters()
    if count > MOST:
        raise Refused(f"{quoted(name)} has {count} filters, one after the other; {ADVICE}")
    filters = []
    for index in range(count):
        code, _, values, label = plan.get_filter(index)
        one = Filter(int(code), tuple(map(int, values)), label.decode(errors="replace")[:40])
        if one.code not in READABLE or not h5z.filter_avail(one.code):
            raise Refused(f"{quoted(name)} is compressed by {one.name} (filter {code}), not readable here; {ADVICE}")
        filters.append(one)
    return tuple(filters)


def _check_order(codes: Sequence[int]) -> None:
    """Raises Unsized where the size of what a filter was given cannot be known."""
    if sum(code in _PACKING for code in codes) > 1:
        raise Unsized("data is compressed once, and not several times")
    if any(code in _NARROWING for code in codes[1:]) or (LZF in codes and codes[0] in _NARROWING):
        raise Unsized("nbit and scaleoffset come first, and only gzip compresses what they give")


def _check_values(one: Filter, pipeline: Pipeline) -> None:
    if one.code == SHUFFLE and not (one.values and one.values[0]):
        raise Unsized("shuffle lacks the size of a value")
    if one.code == NBIT:
        packed.nbit_size(one.values, pipeline.count, pipeline.width)
    if one.code == SCALEOFFSET:
        packed.check_scaleoffset(one.values, pipeline.count, pipeline.width)
