"""What parts a large object goes in. S3 takes 10,000 at most, of 5 MiB at least, and their number is not known before
the last byte is here: so later parts are larger."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncGenerator, AsyncIterator

from shared.objects.refusals import too_large

MIB = 1 << 20
PART = 8 * MIB
MOST_PARTS = 10_000

_STEPS = ((1000, PART), (2000, 4 * PART), (MOST_PARTS, 16 * PART))
"""Up to which part they have so many bytes: more than 1 TiB in all."""

LARGEST_STREAM = 1000 * PART + 1000 * 4 * PART + 8000 * 16 * PART


def size_of(number: int) -> int:
    """Bytes of a stream's part, counted from 1."""
    return next(size for last, size in _STEPS if number <= last)


def size_for(total: int) -> int:
    """Bytes of each part of an object whose size is known: a multiple of PART."""
    return max(1, math.ceil(total / (MOST_PARTS * PART))) * PART


class Blocks:
    """Joins and splits what comes into parts. Raises TooLarge past `limit` bytes, or what S3 can take."""

    def __init__(self, limit: int | None) -> None:
        self._limit = LARGEST_STREAM if limit is None else min(limit, LARGEST_STREAM)
        self._size = 0
        self._number = 1
        self._block = io.BytesIO()

    async def of(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[io.BytesIO, None]:
        """One block at least, which may be empty if it is the only one."""
        async for chunk in chunks:
            self._size += len(chunk)
            if self._size > self._limit:
                raise too_large(self._limit)
            rest = memoryview(chunk)
            while rest:
                if not self._room:
                    yield self._taken()
                part = rest[: self._room]
                self._block.write(part)
                rest = rest[len(part) :]
        yield self._taken()

    @property
    def _room(self) -> int:
        return size_of(self._number) - self._block.tell()

    def _taken(self) -> io.BytesIO:
        block, self._block = self._block, io.BytesIO()
        block.seek(0)
        self._number += 1
        return block
