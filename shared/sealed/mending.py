"""Turns back single bits that have flipped: with a checksum beside it, there is one bit at most that makes data right
again. Everything here blocks, and works on files that nobody has open."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

from shared.sealed import sealfile, wal
from shared.sealed.inspection import log_of, page_sums, seal_of
from shared.sealed.wal import FRAME, HEADER

_MOST = 8
"""Bits in one file: where there are more, the disk is not one to be trusted."""


def mend(database: Path) -> list[str]:
    """What was mended, in words."""
    return _mend_log(log_of(database)) + _mend_pages(database)


def turned_back(data: bytes, is_right: Callable[[bytes], bool]) -> bytes | None:
    """The data with the one bit turned that makes it right."""
    tried = bytearray(data)
    for at in range(8 * len(data)):
        tried[at >> 3] ^= 1 << (at & 7)
        if is_right(bytes(tried)):
            return bytes(tried)
        tried[at >> 3] ^= 1 << (at & 7)
    return None


def _mend_pages(database: Path) -> list[str]:
    seal = sealfile.parse(seal_of(database).read_bytes()) if seal_of(database).exists() else None
    if seal is None or seal.base is None or not database.exists() or not seal.base.page_size:
        return []
    elsewhere = wal.read(log_of(database)).pages
    size = seal.base.page_size
    bad = [
        page
        for page, found in page_sums(database, size)
        if page not in elsewhere and seal.sums.get(page, found) != found
    ]
    if len(bad) > _MOST:
        return []
    with database.open("r+b") as file:
        return [f"{database} (page {page})" for page in bad if _mend_at(file.fileno(), page, size, seal.sums[page])]


def _mend_at(descriptor: int, page: int, size: int, wanted: int) -> bool:
    data = os.pread(descriptor, size, (page - 1) * size)
    right = turned_back(data, lambda tried: zlib.crc32(tried) == wanted)
    if right is not None:
        os.pwrite(descriptor, right, (page - 1) * size)
    return right is not None


def _mend_log(path: Path) -> list[str]:
    mended: list[str] = []
    while path.exists() and len(mended) < _MOST and (what := _mend_first(path)) is not None:
        mended.append(f"{path} ({what})")
    return mended


def _mend_first(path: Path) -> str | None:
    """Mends the first place that does not verify; None where there is none, or it cannot be."""
    with path.open("r+b") as file:
        header = file.read(HEADER.size)
        if not wal.is_header(header):
            right = turned_back(header, wal.is_header) if len(header) == HEADER.size else None
            what, at = "its header", 0
        else:
            log = wal.read(path)
            at = HEADER.size + log.verified * (FRAME.size + log.page_size)
            file.seek(at)
            data = file.read(FRAME.size + log.page_size)
            if not log.beyond or len(data) < FRAME.size + log.page_size:
                return None
            little = wal.is_little(header)
            right = turned_back(data, lambda tried: wal.is_frame(tried, log, little=little))
            what = f"frame {log.verified + 1}"
        if right is None:
            return None
        file.seek(at)
        file.write(right)
    return what
