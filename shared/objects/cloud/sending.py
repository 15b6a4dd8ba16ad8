"""Objects that are in the node's cache, sent from there."""

from __future__ import annotations

import os

from shared.objects.base import ObjectInfo, Sender
from shared.objects.cloud.engine import Engine
from shared.objects.cloud.place import Spot
from shared.objects.disk.reading import BlobReader
from shared.objects.disk.sending import BlobSender, FileSender


async def open_cached(engine: Engine, spot: Spot, socket: int) -> Sender | None:
    """None: the cache does not have it. The socket is the sender's own, unless this raises."""
    info = await engine.head(spot)
    reader = await engine.pool.obtain(_close, _open, engine, spot, info)
    if reader is None:
        os.close(socket)
        return None
    return FileSender(engine.pool, info, BlobSender(reader, socket))


def _open(engine: Engine, spot: Spot, info: ObjectInfo) -> BlobReader | None:
    path = engine.find_cached(spot, info)
    try:
        return None if path is None else BlobReader(path)
    except FileNotFoundError:  # Evicted this very moment.
        return None


def _close(reader: BlobReader | None) -> None:
    if reader is not None:
        reader.close()
