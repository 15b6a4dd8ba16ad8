"""SQLite's write-ahead log, as far as it is to be understood without SQLite.

Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log. SQLite itself recovers what comes before the first
frame that does not verify, and says nothing of the rest; here the rest is looked at, too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Salts = tuple[int, int]
Sum = tuple[int, int]

HEADER = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
_LARGEST_PAGE = 65536
_AT_ONCE = 4 << 20
_MASK = 0xFFFFFFFF
_SUMMED_OF_FRAME = 8
"""Of a frame's header only the number of the page and the size of the database are part of its checksum."""


@dataclass(frozen=True, slots=True)
class Wal:
    """What lies in a log. `salts` is None where it has no readable header."""

    size: int = 0
    salts: Salts | None = None
    page_size: int = 0
    frames: int = 0
    """Up to the last commit that SQLite would recover."""
    beyond: int = 0
    """Commits behind the first frame that does not verify: of the same log, by their salts."""
    pages: frozenset[int] = frozenset()
    """The pages that `frames` bring."""
    verified: int = 0
    """Frames before the first that does not verify."""
    total: Sum = (0, 0)
    """The checksum up to there."""

    @property
    def is_empty(self) -> bool:
        return not self.frames and not self.beyond


@dataclass(slots=True)
class _Scan:
    """`valid`: no frame has failed so far; `total` is the checksum up to there."""

    total: Sum
    count: int = 0
    frames: int = 0
    beyond: int = 0
    valid: bool = True


def read(path: Path) -> Wal:
    """The log at `path`; an empty one where there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            header = file.read(HEADER.size)
            start = _start_of(header)
            if start is None:
                return Wal(size)
            return _scanned(size, header, start, _blocks(file, _page_size(header)))
    except FileNotFoundError:
        return Wal()


def follows(later: Salts, earlier: Salts) -> bool:
    """Whether a log was begun anew since the other: SQLite counts the first salt up by one each time."""
    return 0 < (later[0] - earlier[0]) & _MASK < 1 << 31


def checksum(data: bytes, start: Sum, *, little: bool) -> Sum:
    """SQLite's, which goes on from `start`, of a multiple of 8 bytes."""
    words = np.frombuffer(data, dtype="<u4" if little else ">u4").astype(np.uint32)
    return _carried(start, _share(words[np.newaxis, :])[0], len(words) // 2)


def is_header(data: bytes) -> bool:
    return _start_of(data) is not None


def is_frame(data: bytes, log: Wal, *, little: bool) -> bool:
    """Whether this would be the next frame behind those of the log that verify."""
    _, _, *salts, first, second = FRAME.unpack(data[: FRAME.size])
    if tuple(salts) != log.salts:
        return False
    return checksum(data[:_SUMMED_OF_FRAME] + data[FRAME.size :], log.total, little=little) == (first, second)


def is_little(header: bytes) -> bool:
    return int(HEADER.unpack(header)[0]) == _MAGIC


def _start_of(header: bytes) -> Sum | None:
    if len(header) < HEADER.size:
        return None
    magic, _, page_size, _, _, _, *stated = HEADER.unpack(header)
    if magic & ~1 != _MAGIC or not 512 <= page_size <= _LARGEST_PAGE or page_size & (page_size - 1):
        return None
    found = checksum(header[:24], (0, 0), little=magic == _MAGIC)
    return found if found == tuple(stated) else None


def _page_size(header: bytes) -> int:
    return int(HEADER.unpack(header)[2])


def _blocks(file: object, page_size: int) -> Iterator[NDArray[np.uint8]]:
    """Whole frames, one a row, some at a time."""
    length = FRAME.size + page_size
    while data := file.read(max(1, _AT_ONCE // length) * length):  # type: ignore[attr-defined]
        whole = len(data) // length
        yield np.frombuffer(data, dtype=np.uint8, count=whole * length).reshape(whole, length)


def _scanned(size: int, header: bytes, start: Sum, blocks: Iterator[NDArray[np.uint8]]) -> Wal:
    magic, _, page_size, _, *salts, _, _ = HEADER.unpack(header)
    scan = _Scan(start)
    numbers: list[int] = []
    for block in blocks:
        shares = _shares(block, little=magic == _MAGIC)
        for row, share in zip(block, shares, strict=True):
            number, pages, first, second, *stated = FRAME.unpack(row[: FRAME.size].tobytes())
            if [first, second] != salts:
                scan.valid = False
                continue
            _take(scan, pages > 0, (stated[0], stated[1]), share, page_size)
            numbers.append(number)
    own = (salts[0], salts[1])
    pages = frozenset(numbers[: scan.frames])
    return Wal(size, own, page_size, scan.frames, scan.beyond, pages, scan.count, scan.total)


def _take(scan: _Scan, commits: bool, stated: Sum, share: Sum, page_size: int) -> None:
    """One more frame; `commits`: it ends a transaction."""
    found = _carried(scan.total, share, (_SUMMED_OF_FRAME + page_size) // 8)
    scan.valid = scan.valid and found == stated
    if scan.valid:
        scan.total = found
        scan.count += 1
        scan.frames = scan.count if commits else scan.frames
    else:
        scan.beyond += commits


def _shares(block: NDArray[np.uint8], *, little: bool) -> list[Sum]:
    """What every frame adds to the checksum."""
    summed = np.hstack((block[:, :_SUMMED_OF_FRAME], block[:, FRAME.size :]))
    return _share(np.ascontiguousarray(summed).view("<u4" if little else ">u4").astype(np.uint32))


def _share(words: NDArray[np.uint32]) -> list[Sum]:
    """Of each row of words. The checksum is linear in them, so this is a product with what each word counts."""
    first, second = _weights(words.shape[1] // 2)
    return list(zip((words @ first).tolist(), (words @ second).tolist(), strict=True))


def _carried(total: Sum, share: Sum, pairs: int) -> Sum:
    """The checksum after words that add `share`."""
    (a, b), (c, d) = _power(pairs)
    return (a * total[0] + b * total[1] + share[0]) & _MASK, (c * total[0] + d * total[1] + share[1]) & _MASK


@lru_cache(maxsize=8)
def _weights(pairs: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What each of the words counts in either half of the checksum. Each pair (x, y) does s += x + t; t += y + s."""
    first, second = [], []
    for rest in range(pairs - 1, -1, -1):
        (a, b), (c, d) = _power(rest)
        first += [(a + b) & _MASK, b]
        second += [(c + d) & _MASK, d]
    return np.array(first, dtype=np.uint32), np.array(second, dtype=np.uint32)


@cache
def _power(steps: int) -> tuple[Sum, Sum]:
    """((1, 1), (1, 2)) to the power of `steps`: what so many pairs make of the checksum before them."""
    if not steps:
        return (1, 0), (0, 1)
    (a, b), (c, d) = _power(steps // 2)
    square = (a * a + b * c, a * b + b * d), (c * a + d * c, c * b + d * d)
    (a, b), (c, d) = square
    if steps % 2:
        (a, b), (c, d) = (a + c, b + d), (a + 2 * c, b + 2 * d)
    return (a & _MASK, b & _MASK), (c & _MASK, d & _MASK)
