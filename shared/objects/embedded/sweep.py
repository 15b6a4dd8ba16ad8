"""What goes by itself: objects whose time is over, and files that a crash has left."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from shared.expiry import DAY
from shared.objects.disk.threads import Pool
from shared.objects.embedded import table
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.changes import Expire
from shared.objects.embedded.folder import clear_left
from shared.objects.embedded.quarantine import KEEP_SECS, Quarantine
from shared.objects.embedded.readers import Readers
from shared.objects.embedded.writer import Writer

STEP = 200
"""Objects deleted in one go: others' writes come in between."""

_DAY = 86_400_000_000
"""In microseconds."""

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


async def set_aside(readers: Readers, pool: Pool, blobs: Blobs, folder: Path, now: float) -> int:
    """Sets aside what a crash has left: files that no object consists of. Returns how many those were. Old scratch
    files go at once. Files that are being written now have this opening's mark and are left alone."""
    await pool.run(clear_left, folder)
    moved = 0
    for shard in blobs.shards:
        moved += await readers.query(_set_shard_aside, blobs, Quarantine(folder), shard, now)
    if moved:
        log.warning(
            "set aside %d files that no object consists of (an earlier crash left them, or the index is not the right "
            "one): they go in %d days, `voxloom doctor` says what lies there",
            moved,
            KEEP_SECS // DAY,
        )
    return moved


async def clear_quarantine(readers: Readers, folder: Path, now: float) -> int:
    """Removes what was set aside long enough ago, and is still needed by nothing."""
    return await readers.query(_clear, Quarantine(folder), now)


def _set_shard_aside(
    connection: sqlite3.Connection, blobs: Blobs, quarantine: Quarantine, shard: str, now: float
) -> int:
    with os.scandir(blobs.path(shard)) as entries:
        files = [f"{shard}/{entry.name}" for entry in entries if not entry.name.endswith(blobs.mark)]
    known = table.files_kept(connection, files)
    return quarantine.take(blobs, [file for file in files if file not in known], now)


def _clear(connection: sqlite3.Connection, quarantine: Quarantine, now: float) -> int:
    gone = quarantine.clear(lambda files: table.files_kept(connection, files), now)
    if gone:
        log.info("removed %d files that no object consists of, set aside %d days ago", gone, KEEP_SECS // DAY)
    return gone
