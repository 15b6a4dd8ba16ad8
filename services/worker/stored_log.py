"""How the log of an attempt that is over is kept: short ones in the report, longer ones in the store beside it."""

from __future__ import annotations

import time

from services.worker.run_log import RunLog
from shared.objects.base import EXPIRING, FileUpload, ObjectStore
from voxloom.errors import VoxloomError
from voxloom.runner.output import format_lines

INLINE_LOG = 16 << 10
"""Characters of log that travel in the report itself."""


async def keep(log: RunLog, store: ObjectStore, collection: str, key: str) -> tuple[str, str | None]:
    """What goes into the report, and the key of the whole log, where that is longer and could be stored."""
    await log.finish()
    text = await log.head_and_tail(INLINE_LOG)
    if log.characters <= INLINE_LOG:
        return text, None
    upload = FileUpload(key, await log.save(), tags=EXPIRING)
    try:
        await store.put_files(collection, [upload])
    except VoxloomError as error:
        lost = format_lines(time.time(), "ERROR", f"The whole log could not be kept: {error.message}")
        return text + lost, None
    return text, key
