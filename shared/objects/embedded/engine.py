"""The parts of an open store and what they do together. The adapter (local.py) says what the port's words mean."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from shared.objects.base import ANYWAY, Condition
from shared.objects.disk.placing import Replaced
from shared.objects.disk.threads import Pool
from shared.objects.embedded import backup, kept, table
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.cache import Cache
from shared.objects.embedded.changes import Change, check_condition
from shared.objects.embedded.folder import DATABASE, Claim, Clocks, claim
from shared.objects.embedded.intake import Arrived, Intake
from shared.objects.embedded.readers import Readers
from shared.objects.embedded.rows import Address, Row
from shared.objects.embedded.writer import Statement, Writer
from voxloom.errors import NotFound, StoreUnavailable

ANSWER_WITHIN = 30.0
"""Seconds after which the database counts as out of order."""

DRAIN = 5.0
"""Seconds that `close` waits for writes under way; uploads that take longer fail and leave nothing."""

_READING_THREADS = 2
_MOVING_THREADS = 8

T = TypeVar("T")

log = logging.getLogger("voxloom.objects")


class Engine:
    """One opening of the store. An operation keeps it to its end, also when the store is closed meanwhile."""

    def __init__(self, folder: Path, claimed: Claim, blobs: Blobs) -> None:
        self.secret = claimed.secret
        self.expiry = claimed.expiry
        self.watch = claimed.guard.watch
        self.blobs = blobs
        self.readers = Readers("objects.read", _READING_THREADS, folder / DATABASE, self.watch)
        self.movers = Pool("objects.move", _MOVING_THREADS)
        self.writer = Writer(
            claimed.connection,
            claimed.guard,
            claimed.manifest,
            on_commit=self._on_commit,
            on_garbage=self._on_garbage,
        )
        self._claim = claimed
        self._folder = folder
        self._born = claimed.born
        self._cache = Cache()
        self._busy = 0
        self._idle = asyncio.Event()

    @classmethod
    async def start(cls, folder: Path, clocks: Clocks) -> Engine:
        """Raises Misconfigured."""
        blobs = Blobs(folder)
        return cls(folder, await asyncio.to_thread(claim, folder, blobs, clocks), blobs)

    async def close(self) -> None:
        """In this order: the writer's connection closes last, which tidies up; its garbage needs the movers; and
        nobody else may come in before all is done."""
        await self._drain()
        await self._backup_at_stop()
        await self.readers.close()
        await self.writer.close()
        await self.movers.close()
        self._claim.release()

    @contextmanager
    def busy(self) -> Iterator[Engine]:
        """Around every write: `close` waits for it."""
        self._busy += 1
        try:
            yield self
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def write(self, changes: Sequence[Change], statements: Sequence[Statement] = ()) -> None:
        await in_time(self.writer.write(changes, statements))

    async def check_folder(self) -> None:
        """Before anything that finds files by their paths: in another folder it must touch nothing. To open a database
        and close it again is enough to move its log. Raises StoreUnavailable."""
        await self.movers.run(self.watch.check)

    async def back_up(self, *, after: float = backup.EVERY_SECS) -> None:
        """Makes a backup of the database where the last one is so old."""
        await self.check_folder()
        now = self.expiry.now()
        if await self.movers.run(backup.is_due, self._folder, self._born, now, after=after):
            await self.movers.run(backup.make, self._folder, self._folder / DATABASE, now)

    async def _backup_at_stop(self) -> None:
        try:
            if (self._folder / DATABASE).stat().st_size <= backup.AT_STOP_BYTES:
                await self.back_up(after=backup.AT_STOP_SECS)
        except (StoreUnavailable, OSError) as error:
            log.warning("no backup at this stop: %s", error)

    async def keep_clock(self) -> None:
        """A start goes on from what the clock of expiry shows now."""
        await self.write([], [kept.writing(kept.EXPIRY_CLOCK, kept.as_value(self.expiry.now()))])

    async def find(self, address: Address) -> Row:
        """The row, with its body where it has one. Raises NotFound."""
        if (row := self._cache.get(address)) is not None:
            return row
        mark = self._cache.mark
        row = await in_time(self.readers.query(table.whole, address))
        self._cache.keep(row, mark)
        return row

    async def find_many(self, addresses: Sequence[Address]) -> dict[Address, Row]:
        """The rows that are there, without bodies but where those are at hand."""
        cached = {address: row for address in addresses if (row := self._cache.get(address)) is not None}
        unknown = [address for address in addresses if address not in cached]
        return cached | await in_time(self.readers.query(table.load, unknown)) if unknown else cached

    async def with_file(
        self, address: Address, work: Callable[[str], T], *, undo: Callable[[T], None] = lambda _: None
    ) -> tuple[Row, T] | tuple[Row, None]:
        """The object's row, and what `work` made of its file, if it has one: of the same version. `undo` gets the
        result when nobody waits for it any more."""
        for _ in range(5):
            row = await self.find(address)
            if row.file is None:
                return row, None
            try:
                return row, await self.movers.obtain(undo, work, row.file)
            except Replaced:
                self._cache.forget(address)
        raise StoreUnavailable("The file of an object is missing; look at the disk and restore it from a backup.")

    async def take_in(
        self,
        address: Address,
        chunks: AsyncIterator[bytes],
        *,
        inline: int | None,
        limit: int | None,
        digest: str | None,
        condition: Condition,
    ) -> Arrived:
        """What was sent. A file is the caller's, who passes it to `write` without waiting for anything in between."""
        if condition != ANYWAY:  # It is judged again when it is written; now it may save an upload in vain.
            check_condition(await self._find_any(address), condition, address)
        await self.check_folder()
        intake = Intake(self.blobs, self.movers, inline=inline, limit=limit)
        try:
            async for chunk in chunks:
                await intake.add(chunk)
            return await intake.finish(digest)
        except BaseException:
            intake.abandon()
            raise

    async def _find_any(self, address: Address) -> Row | None:
        try:
            return await self.find(address)
        except NotFound:
            return None

    async def _drain(self) -> None:
        if not self._busy:
            return
        self._idle.clear()
        try:
            async with asyncio.timeout(DRAIN):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d writes to the object store were cut off at its end", self._busy)

    def _on_commit(self, touched: dict[Address, Row | None]) -> None:
        self._cache.renew(touched)

    def _on_garbage(self, files: list[str]) -> None:
        if files:
            self.movers.later(self.blobs.remove, files)


async def in_time(answer: Awaitable[T]) -> T:
    """Waits, but not for ever."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return await answer
    except TimeoutError:
        raise StoreUnavailable(f"The object store did not answer within {ANSWER_WITHIN:g} s; try again.") from None
