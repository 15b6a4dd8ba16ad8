"""Objects that are in the node's cache, sent from there."""

from __future__ import annotations

import os

from shared.objects.base import ObjectInfo, Sender
from shared.objects.cloud.engine import Engine
from shared.objects.cloud.place import Spot
from shared.objects.embedded.blobs import BlobReader, BlobSender
from shared.objects.embedded.threads import Pool


class CachedSender(Sender):
    def __init__(self, pool: Pool, info: ObjectInfo, sender: BlobSender) -> None:
        self.info = info
        self._pool = pool
        self._sender = sender

    async def send(self, start: int, stop: int) -> int:
        return await self._pool.run(self._sender.send, start, stop)

    def close(self) -> None:
        self._pool.later(self._sender.close)


async def open_cached(engine: Engine, spot: Spot, socket: int) -> Sender | None:
    """None: the cache does not have it. The socket is the sender's own, unless this raises."""
    info = await engine.head(spot)
    reader = await engine.pool.obtain(_close, _open, engine, spot, info)
    if reader is None:
        os.close(socket)
        return None
    return CachedSender(engine.pool, info, BlobSender(reader, socket))


def _open(engine: Engine, spot: Spot, info: ObjectInfo) -> BlobReader | None:
    path = engine.find_cached(spot, info)
    try:
        return None if path is None else BlobReader(path)
    except FileNotFoundError:  # Evicted this very moment.
        return None


def _close(reader: BlobReader | None) -> None:
    if reader is not None:
        reader.close()
