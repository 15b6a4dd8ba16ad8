"""What an open store does beside what it is asked for: it tidies up after a crash, deletes what expires, backs up its
database, and notes the digests of files that came without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shared.objects.embedded import sweep, table
from shared.objects.embedded.aside import end, whatever
from shared.objects.embedded.digesting import LOOK_BACK_SECS, Checks, Late
from shared.objects.embedded.engine import Engine, in_time
from shared.objects.embedded.rows import Row

SWEEP_EVERY = 600.0


class Housekeeping:
    """Of one opening of the store, from the time it is made. `clock` gives seconds since 1970."""

    def __init__(self, engine: Engine, folder: Path, checks: Checks, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._folder = folder
        self._clock = clock
        self._late = Late(engine.blobs, checks, engine.write, self._without_digest)
        self._sweeper = asyncio.create_task(self._keep_swept(), name="objects.sweep")
        self._digester = asyncio.create_task(self._late.run(), name="objects.digest")

    def add(self, rows: Iterable[Row]) -> None:
        """Rows that have just come, maybe without a digest."""
        self._late.add(rows)

    async def close(self) -> None:
        await end(self._sweeper)
        await end(self._digester)
        await self._late.close()
        await whatever(self._engine.keep_clock(), "keep its clock")

    async def _keep_swept(self) -> None:
        """Tidies up after a crash, then deletes what expires, for as long as the store is open."""
        engine = self._engine
        tidy = sweep.set_aside(engine.readers, engine.movers, engine.blobs, self._folder, engine.expiry.now())
        await whatever(tidy, "tidy up")
        while True:
            await whatever(self._clear_quarantine(), "tidy up")
            await whatever(self._expire(), "delete what has expired")
            await whatever(engine.back_up(), "back up its database")
            await asyncio.sleep(SWEEP_EVERY)

    async def _clear_quarantine(self) -> None:
        await self._engine.check_folder()
        await sweep.clear_quarantine(self._engine.readers, self._folder, self._engine.expiry.now())

    async def _expire(self) -> None:
        engine = self._engine
        await engine.keep_clock()
        await sweep.expire(engine.readers, engine.writer, round(engine.expiry.now() * 1e6))

    async def _without_digest(self, most: int) -> Sequence[Row]:
        """Files that came lately, of which a former opening has not come to note the digest."""
        since = round((self._clock() - LOOK_BACK_SECS) * 1e6)
        return await in_time(self._engine.readers.query(table.without_digest, since, most))
