"""What a slice of a dataset is, and which bytes of its file it needs: decided before anything is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 1 << 25
MOST_BYTES = 128 << 20
"""Of one slice, in memory."""
MOST_READ = 1 << 30
"""Bytes that may be read or unpacked for one slice."""
MOST_CHUNKS = 16_384
BLOCK = 1 << 16
"""What is read of a file at least."""
SLAB = 16 << 20
MOST_RUNS = 4096


class Wrong(Exception):
    """What was asked for cannot be: `where` is the parameter, the message a sentence."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where = where


@dataclass(frozen=True)
class Cut:
    """Which part of an array: `index` along `axis`, or (both None) all of it."""

    axis: int | None
    index: int | None

    def key(self, rank: int) -> tuple[Any, ...]:
        """What to index an array of that rank with."""
        return tuple(self.index if at == self.axis else slice(None) for at in range(rank))

    def shape(self, whole: Sequence[int]) -> tuple[int, ...]:
        return tuple(length for at, length in enumerate(whole) if at != self.axis)


def cut_of(shape: Sequence[int], axis: int | None, index: int | None) -> Cut:
    """Raises Wrong. Without an index: the whole, of what has two axes, or is red, green and blue in three."""
    rank = len(shape)
    if rank < 2:
        raise Wrong("dataset", f"It has {_axes(rank)}; slices are of datasets with two at least. Download the file.")
    if index is None and axis is not None:
        raise Wrong("index", "An axis needs an index along it.")
    if index is None:
        return _whole(shape)
    axis = 0 if axis is None else axis
    if not 0 <= axis < rank:
        raise Wrong("axis", f"The dataset has {_axes(rank)}; give one from 0 to {rank - 1}.")
    if not 0 <= index < shape[axis]:
        within = f"give one from 0 to {shape[axis] - 1}" if shape[axis] else "there is none that could be given"
        raise Wrong("index", f"Axis {axis} has a length of {shape[axis]}; {within}.")
    return Cut(axis, index)


def _whole(shape: Sequence[int]) -> Cut:
    if len(shape) == 2 or (len(shape) == 3 and shape[0] == 3):
        return Cut(None, None)
    raise Wrong(
        "index", f"The dataset has {_axes(len(shape))}; give an `index`, and the `axis` if it is not the first."
    )


def _axes(rank: int) -> str:
    return {0: "no axis", 1: "one axis"}.get(rank, f"{rank} axes")


def check_size(shape: Sequence[int], width: int) -> None:
    """`shape` is the slice's, `width` the bytes of a value. Raises Wrong."""
    values = math.prod(shape)
    if values > MOST_VALUES or values * width > MOST_BYTES:
        raise Wrong(
            "dataset",
            f"This slice has {values} values of {width} bytes; {MOST_VALUES} values and {MOST_BYTES} bytes are the "
            "most. Download the file.",
        )


def check_picture(shape: Sequence[int]) -> None:
    """Raises Wrong unless a slice of that shape is a picture: (H, W), or (3, H, W) in red, green and blue."""
    flat = len(shape) == 2 or (len(shape) == 3 and shape[0] == 3)
    if not flat or 0 in shape:
        text = " × ".join(map(str, shape))
        raise Wrong(
            "format", f"A PNG is of H × W or of 3 × H × W values, and this slice is {text}; ask for format=npy."
        )


def check_chunks(shape: Sequence[int], chunk: Sequence[int], cut: Cut, width: int) -> None:
    """Raises Wrong where the cut crosses too many chunks, or too large ones."""
    counts = [
        1 if at == cut.axis else -(-length // size) for at, (length, size) in enumerate(zip(shape, chunk, strict=True))
    ]
    count, size = math.prod(counts), math.prod(chunk) * width
    if count > MOST_CHUNKS or count * size > MOST_READ:
        raise Wrong(
            "axis",
            f"This slice crosses {count} chunks of {size} bytes; {MOST_CHUNKS} chunks and {MOST_READ} bytes are the "
            "most. Take another axis, or write the dataset with other chunks.",
        )


@dataclass(frozen=True)
class Runs:
    """The bytes of a cut in a dataset that lies in one piece: `count` runs of `length` bytes, one every `step`."""

    first: int
    count: int
    length: int
    step: int

    @property
    def sparse(self) -> bool:
        """Whether it is worth to read the runs alone."""
        return self.count <= MOST_RUNS and self.length + 2 * BLOCK < self.step

    def spans(self) -> list[tuple[int, int]]:
        """Of every run: from where, and up to where."""
        begins = range(self.first, self.first + self.count * self.step, self.step)
        return [(at, at + self.length) for at in begins]

    def check(self) -> None:
        """Raises Wrong where too much would have to be read."""
        needed = self.count * (self.length + BLOCK if self.sparse else self.step)
        if needed > MOST_READ:
            raise Wrong(
                "axis",
                f"For this slice {needed} bytes of the file would have to be read; {MOST_READ} are the most. Take "
                "another axis, or write the dataset in chunks.",
            )


def runs_of(shape: Sequence[int], width: int, cut: Cut) -> Runs:
    """Where the cut's bytes are, counted from the begin of the dataset's."""
    if cut.axis is None or cut.index is None:
        total = math.prod(shape) * width
        return Runs(0, 1, total, total)
    length = math.prod(shape[cut.axis + 1 :]) * width
    step = length * shape[cut.axis]
    return Runs(cut.index * length, math.prod(shape[: cut.axis]), length, step)
