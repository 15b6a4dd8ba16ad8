"""Digests of bytes that are on their way: computed in a thread, beside whatever else is done with the bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.objects.base import CHUNK
from shared.objects.disk.threads import Pool
from voxloom.digests import named

Piece = bytes | memoryview


class Running:
    """Of the bytes so far. Of two portions one is hashed and the other may be on its way: no more is held."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hash = hashlib.sha256()
        self._working: asyncio.Future[None] | None = None

    async def add(self, pieces: Iterable[Piece]) -> None:
        """Begins with these once the ones before are done. They must not change meanwhile."""
        await self._done()
        self._working = self._pool.start(self.update, pieces)

    def update(self, pieces: Iterable[Piece]) -> None:
        """Blocks."""
        for piece in pieces:
            self._hash.update(piece)

    async def finish(self) -> str:
        await self._done()
        return named(self._hash.hexdigest())

    async def _done(self) -> None:
        if self._working is not None:
            working, self._working = self._working, None
            await working


class GivenUp(Exception):
    """Nobody wants to know the digest any more."""


def digest_at(path: Path, given_up: Callable[[], bool] = lambda: False) -> str:
    """Of a whole file. Blocks. Raises OSError and GivenUp."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if given_up():
                raise GivenUp
    return named(digest.hexdigest())
