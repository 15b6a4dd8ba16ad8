"""Pieces of stored files: read from the store once, however many look at the same place, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from shared.hdf5.slice_plan import BLOCK
from shared.newest import Newest
from shared.objects.base import ObjectInfo, ObjectStore
from voxloom.errors import NotFound

KEPT_BYTES = 128 << 20
AT_ONCE = 8
"""Stretches of one file that are read at the same time."""
LONGEST = 8 << 20
"""Bytes of a stretch."""

Span = tuple[int, int]


class Blocks:
    """What was read lately, of all files together. `read_bytes` is what came from the store."""

    def __init__(self, store: ObjectStore, *, kept: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept: Newest[tuple[str, int], bytes] = Newest(kept // BLOCK)
        self.read_bytes = 0

    async def read(self, collection: str, info: ObjectInfo, start: int, stop: int) -> Sequence[bytes]:
        """The bytes from `start` up to `stop`, in pieces. Raises NotFound, and StoreUnavailable."""
        first, last = start // BLOCK, (stop - 1) // BLOCK
        found = {at: self._kept[info.etag, at] for at in range(first, last + 1) if (info.etag, at) in self._kept}
        found |= await self._fetch(collection, info, [at for at in range(first, last + 1) if at not in found])
        pieces = [found[at] for at in range(first, last + 1)]
        pieces[-1] = pieces[-1][: stop - last * BLOCK]
        pieces[0] = pieces[0][start - first * BLOCK :]
        return pieces

    async def prefetch(self, collection: str, info: ObjectInfo, spans: Iterable[Span]) -> None:
        """Reads what is not here yet, several stretches at a time."""
        wanted = {at for start, stop in spans for at in range(start // BLOCK, -(-stop // BLOCK))}
        await self._fetch(collection, info, sorted(at for at in wanted if (info.etag, at) not in self._kept))

    async def _fetch(self, collection: str, info: ObjectInfo, blocks: Sequence[int]) -> dict[int, bytes]:
        """Reads these blocks; none of them may be of another version of the object."""
        found: dict[int, bytes] = {}
        waiting = iter(stretches(blocks))

        async def keep_reading() -> None:
            for first, last in waiting:
                found.update(await self._read(collection, info, first, last))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE if len(blocks) > 1 else len(blocks)):
                group.create_task(keep_reading())
        if blocks and (await self._store.head(collection, info.key)).etag != info.etag:
            raise NotFound("The file was replaced while it was read; ask again.", code="object_not_found")
        for at, block in found.items():
            self._kept[info.etag, at] = block
        return found

    async def _read(self, collection: str, info: ObjectInfo, first: int, last: int) -> dict[int, bytes]:
        start, stop = first * BLOCK, min((last + 1) * BLOCK, info.size)
        stream = self._store.stream(collection, info.key, start=start, stop=stop)
        data = b"".join([piece async for piece in stream])
        self.read_bytes += len(data)
        if len(data) < stop - start:
            raise NotFound("The file was replaced while it was read; ask again.", code="object_not_found")
        return {first + at // BLOCK: data[at : at + BLOCK] for at in range(0, len(data), BLOCK)}


def stretches(blocks: Sequence[int]) -> Iterator[Span]:
    """First and last of blocks that follow each other, LONGEST bytes at most: what is read in one go."""
    begin = 0
    for at in range(1, len(blocks) + 1):
        together = at < len(blocks) and blocks[at] == blocks[at - 1] + 1 and at - begin < LONGEST // BLOCK
        if not together:
            yield blocks[begin], blocks[at - 1]
            begin = at
