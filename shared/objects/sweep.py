"""What goes by itself: objects whose time is over, and files that a crash has left."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from shared.objects.embedded import table
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.changes import Expire
from shared.objects.embedded.folder import clear_left
from shared.objects.embedded.threads import Pool, Readers
from shared.objects.embedded.writer import Writer

STEP = 200
"""Objects deleted in one go: others' writes come in between."""

_DAY = 86_400_000_000

log = logging.getLogger("voxloom.objects")


async def expire(readers: Readers, writer: Writer, now: int) -> int:
    """Deletes the objects whose time is over at `now` (microseconds). Returns how many those were."""
    gone = 0
    for collection, days in (await readers.query(table.expiry)).items():
        gone += await _expire_collection(readers, writer, collection, now - round(days * _DAY))
    return gone


async def _expire_collection(readers: Readers, writer: Writer, collection: str, until: int) -> int:
    gone = 0
    while due := await readers.query(table.expired, collection, until, STEP):
        gone += await writer.write([Expire(address, until) for address in due])
    return gone


async def clear_leftovers(readers: Readers, pool: Pool, blobs: Blobs, folder: Path) -> int:
    """Removes what a crash has left: files that no object consists of, and old scratch files. Returns the number of
    the former. Files that are being written now have this opening's mark and are left alone."""
    await pool.run(clear_left, folder)
    removed = 0
    for shard in blobs.shards:
        removed += await readers.query(_clear_shard, blobs, shard)
    if removed:
        log.info("removed %d files that an earlier crash had left in the object store", removed)
    return removed


def _clear_shard(connection: sqlite3.Connection, blobs: Blobs, shard: str) -> int:
    with os.scandir(blobs.path(shard)) as entries:
        files = [f"{shard}/{entry.name}" for entry in entries if not entry.name.endswith(blobs.mark)]
    kept = table.files_kept(connection, files)
    orphans = [file for file in files if file not in kept]
    blobs.remove(orphans)
    return len(orphans)
