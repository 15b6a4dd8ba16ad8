"""The seal of a database as a file: pure bytes here, but for `SealFile` at the end.

    0      the base: what held when the seal was last brought to the disk
    2048   the mark: the last commit, written after each one without waiting for the disk
    4096…  blocks of 4096 bytes with the checksums of 1022 pages each

The mark may be behind after a power cut, never ahead: it is written after its commit is on the disk. Each of the three
has a checksum of its own, so damage to the seal is not taken for damage to the database.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from shared.sealed.wal import Salts

BLOCK = 4096
PAGES_PER_BLOCK = (BLOCK - 8) // 4
_MARK_AT = 2048
_BASE = struct.Struct("<8sIIIIII36s")
_MARK = struct.Struct("<8sIII")
_CRC = struct.Struct("<I")
_TAIL = struct.Struct("<II")
_BASE_MAGIC = b"vxlseal1"
_MARK_MAGIC = b"vxlmark1"


class State(IntEnum):
    OPENING = 1
    """Somebody has begun to open the database: its pages may be ahead of their checksums."""
    OPEN = 2
    CLOSED = 3
    """All is in the database, and there is no log."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a log: the first so many frames of the one with these salts."""

    salts: Salts = (0, 0)
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Base:
    state: State
    page_size: int = 0
    pages: int = 0
    moved: Mark = Mark()
    """Up to here the log has been moved into the database, and the checksums know it."""
    boot: str = ""
    """Which start of the machine that was: while it runs, nothing written gets lost."""


@dataclass(frozen=True, slots=True)
class Seal:
    """As it was read. None, or missing from `sums`: damaged."""

    base: Base | None
    mark: Mark | None
    sums: Mapping[int, int]
    """The checksums of pages, by their numbers, which begin at 1."""
    has_blocks: bool = True
    """Whether there is any place for checksums: those of a database come before it is used for the first time."""


def parse(data: bytes) -> Seal:
    base = _base_from(data[: _BASE.size + _CRC.size])
    mark = _mark_from(data[_MARK_AT : _MARK_AT + _MARK.size + _CRC.size])
    sums = _sums_from(data[BLOCK:], base.pages if base is not None else 0)
    return Seal(base, mark, sums, has_blocks=len(data) > BLOCK)


def pack_base(base: Base) -> bytes:
    boot = base.boot.encode()[:36]
    parts = (base.state, base.page_size, base.pages, *base.moved.salts, base.moved.frames)
    return _with_crc(_BASE.pack(_BASE_MAGIC, *parts, boot))


def pack_mark(mark: Mark) -> bytes:
    return _with_crc(_MARK.pack(_MARK_MAGIC, *mark.salts, mark.frames))


def pack_block(number: int, sums: Iterable[int]) -> bytes:
    values = array("I", sums)
    values.extend([0] * (PAGES_PER_BLOCK - len(values)))
    body = values.tobytes() + _CRC.pack(number)
    return body + _CRC.pack(zlib.crc32(body))


def _with_crc(body: bytes) -> bytes:
    return body + _CRC.pack(zlib.crc32(body))


def _is_whole(data: bytes, length: int) -> bool:
    return len(data) == length + _CRC.size and _CRC.unpack(data[length:])[0] == zlib.crc32(data[:length])


def _base_from(data: bytes) -> Base | None:
    if not _is_whole(data, _BASE.size):
        return None
    magic, state, page_size, pages, first, second, frames, boot = _BASE.unpack(data[: _BASE.size])
    if magic != _BASE_MAGIC or state not in {one.value for one in State}:
        return None
    return Base(State(state), page_size, pages, Mark((first, second), frames), boot.rstrip(b"\0").decode())


def _mark_from(data: bytes) -> Mark | None:
    if not _is_whole(data, _MARK.size):
        return None
    magic, first, second, frames = _MARK.unpack(data[: _MARK.size])
    return Mark((first, second), frames) if magic == _MARK_MAGIC else None


def _sums_from(data: bytes, pages: int) -> dict[int, int]:
    sums: dict[int, int] = {}
    for number, start in enumerate(range(0, len(data), BLOCK)):
        block = data[start : start + BLOCK]
        if len(block) == BLOCK and _TAIL.unpack(block[-8:]) == (number, zlib.crc32(block[:-4])):
            values = array("I", block[: 4 * PAGES_PER_BLOCK])
            first = number * PAGES_PER_BLOCK + 1
            sums |= zip(range(first, min(first + PAGES_PER_BLOCK, pages + 1)), values, strict=False)
    return sums


class SealFile:
    """Open for writing. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def write_base(self, base: Base) -> None:
        """On the disk when it returns, with all that was written before."""
        os.pwrite(self.descriptor, pack_base(base), 0)
        os.fsync(self.descriptor)

    def write_mark(self, mark: Mark) -> None:
        os.pwrite(self.descriptor, pack_mark(mark), _MARK_AT)

    def write_sums(self, sums: array[int], changed: Iterable[int]) -> None:
        """The blocks with the checksums of the `changed` pages; `sums` has those of all, the first page's first."""
        for number in sorted({(page - 1) // PAGES_PER_BLOCK for page in changed}):
            some = sums[number * PAGES_PER_BLOCK : (number + 1) * PAGES_PER_BLOCK]
            os.pwrite(self.descriptor, pack_block(number, some), BLOCK * (number + 1))

    def close(self) -> None:
        os.close(self.descriptor)
