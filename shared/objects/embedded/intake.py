"""Takes the bytes of one object piece by piece: few stay in memory, more go to a file. They are hashed
while they arrive."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from shared.objects.disk.threads import Pool
from shared.objects.embedded.blobs import Blobs, BlobWriter
from shared.objects.hashing import Running
from shared.objects.refusals import digest_mismatch, too_large
from voxloom.digests import digest_of

GROUP = 2 << 20
"""Bytes handed to the threads at once that write and hash; twice as many are in memory at most."""

_MOST_PIECES = 512


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object's bytes: in `file`, or as `body` where they are few."""

    size: int
    digest: str
    file: str | None = None
    made: os.stat_result | None = None
    """Of the file."""
    body: bytes | None = None


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
        self._hashing = Running(pool)
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

    async def finish(self, digest: str | None = None) -> Arrived:
        """What came, by then safe on the disk. Raises InvalidInput where its digest is not the one that is given."""
        if self._writer is None and self._inline is not None and self.size <= self._inline:
            body = b"".join(self._pieces)
            return Arrived(self.size, _checked(digest_of(body), digest), body=body)
        await self._hashing.add(self._pieces)
        await self._written()
        self._writer = self._writer or BlobWriter(self._blobs)
        # The check comes first: what is on the disk in vain costs more than a moment.
        found = _checked(await self._hashing.finish(), digest)
        made = await self._pool.run(self._writer.finish, self._pieces)
        return Arrived(self.size, found, file=self._writer.name, made=made)

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
        await self._hashing.add(pieces)
        self._writing = self._pool.start(self._writer.write, pieces)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing


def _checked(found: str, wanted: str | None) -> str:
    if wanted is not None and wanted != found:
        raise digest_mismatch()
    return found
