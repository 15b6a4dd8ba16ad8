"""Takes the bytes of one object piece by piece: few stay in memory, more go to a file while they arrive."""

from __future__ import annotations

import asyncio

from shared.objects.embedded.blobs import Blobs, BlobWriter
from shared.objects.embedded.threads import Pool
from shared.objects.refusals import too_large

GROUP = 2 << 20
"""Bytes handed to a thread at once; twice as many are in memory at most."""

_MOST_PIECES = 512


class Intake:
    """`inline`: up to so many bytes are kept in memory; None: none are. End it with `finish` or `abandon`."""

    def __init__(self, blobs: Blobs, pool: Pool, *, inline: int | None, limit: int | None) -> None:
        self._blobs = blobs
        self._pool = pool
        self._inline = inline
        self._limit = limit
        self._pieces: list[bytes] = []
        self._held = 0
        self._writer: BlobWriter | None = None
        self._writing: asyncio.Future[None] | None = None
        self.size = 0

    async def add(self, piece: bytes) -> None:
        """Waits while the disk is behind. Raises TooLarge."""
        self.size += len(piece)
        if self._limit is not None and self.size > self._limit:
            raise too_large(self._limit)
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held >= GROUP or len(self._pieces) >= _MOST_PIECES:
            await self._pass_on()

    async def finish(self) -> bytes | str:
        """The bytes, or the name of the file that has them, by then safe on the disk."""
        if self._writer is None and self._inline is not None and self.size <= self._inline:
            return b"".join(self._pieces)
        await self._written()
        self._writer = self._writer or BlobWriter(self._blobs)
        await self._pool.run(self._writer.finish, self._pieces)
        return self._writer.name

    def abandon(self) -> None:
        """Removes what was written, soon."""
        self._pieces.clear()
        if self._writing is not None:
            self._writing.cancel()
        if self._writer is not None:
            self._pool.later(self._writer.discard)

    async def _pass_on(self) -> None:
        if self._writer is None and self._inline is not None and self.size <= self._inline:
            self._pieces = [b"".join(self._pieces)]
            return
        await self._written()
        self._writer = self._writer or BlobWriter(self._blobs)
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._writing = self._pool.start(self._writer.write, pieces)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
