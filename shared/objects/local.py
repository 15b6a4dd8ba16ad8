"""The object store of one machine: one SQLite file for small objects and all that is known, files for large ones.

One process has it open at a time. What has returned is on the disk. Writes are gathered into transactions by one
thread (embedded/writer.py); small objects are read from memory or by a few reading threads; the bytes of large ones
move in threads of their own and never pass through the database.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from shared.expiry import ExpiryClock
from shared.objects import signing
from shared.objects.base import ANYWAY, CHUNK, Condition, FileUpload, ObjectInfo, Page, Sender, ServedStore, Upload
from shared.objects.checks import checked_bound, checked_collection, checked_range, checked_tags, is_expiring
from shared.objects.disk.failures import closed
from shared.objects.disk.reading import BlobReader
from shared.objects.disk.sending import BlobSender, FileSender
from shared.objects.embedded import sweep, table
from shared.objects.embedded.aside import whatever
from shared.objects.embedded.blobs import Blobs, Taken
from shared.objects.embedded.changes import Digested, Drop, Put, Retag
from shared.objects.embedded.checkouts import check_out, link_many
from shared.objects.embedded.digesting import Checks
from shared.objects.embedded.engine import Engine, in_time
from shared.objects.embedded.folder import SCRATCH, Clocks
from shared.objects.embedded.housekeeping import Housekeeping
from shared.objects.embedded.rows import (
    Draft,
    Now,
    Row,
    address_of,
    as_text,
    draft,
    etag_of,
    from_text,
    info_of,
    infos_of,
)
from shared.objects.embedded.writer import Statement
from shared.outages import waiting
from shared.sealed.watch import FOLDER_GONE
from voxloom.digests import digest_of
from voxloom.errors import InvalidInput, Misconfigured, StoreUnavailable

DATA = "data-store"
"""What is streamed or moved into this collection becomes a file however small it is: runner processes read it by path,
and a link is made sooner than a copy."""

_READ_AT_ONCE = 4 * CHUNK
_UPLOADS_AT_ONCE = 256
_ROWS_AT_ONCE = 512

log = logging.getLogger("voxloom.objects")


class LocalObjectStore(ServedStore):
    """Objects of up to `inline_limit` bytes are kept in the database, but for what is streamed or moved to data-store.

    `clock` gives seconds since 1970, `monotonic` those of a clock that only runs on. Besides the port's errors, `open`
    raises Misconfigured.
    """

    def __init__(
        self,
        folder: Path,
        *,
        inline_limit: int = 64 * 1024,
        public_url: str | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.public_url = public_url
        self._folder = folder
        self._inline_limit = inline_limit
        self._clock = clock
        self._clocks = Clocks(clock, monotonic)
        self._engine: Engine | None = None
        self._expiry = ExpiryClock(clock(), monotonic)
        self._housekeeping: Housekeeping | None = None
        self._checks = Checks()

    @property
    def scratch(self) -> Path:
        """A folder whose files `put_files` takes without copying. It is emptied when the store is opened."""
        return self._folder / SCRATCH

    @property
    def is_here(self) -> bool:
        return True

    async def open(self) -> None:
        engine = await Engine.start(self._folder, self._clocks)
        self._engine, self._expiry = engine, engine.expiry
        self._housekeeping = Housekeeping(engine, self._folder, self._checks, self._clock)

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        housekeeping, self._housekeeping = self._housekeeping, None
        if engine is None or housekeeping is None:
            return
        await housekeeping.close()
        await engine.close()

    async def put(
        self,
        collection: str,
        key: str,
        data: bytes,
        *,
        condition: Condition = ANYWAY,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        made = draft(collection, key, metadata, tags)
        with self._now().busy() as engine:
            if len(data) <= self._inline_limit:
                return await _store(engine, self._small(made, data), condition)
            return await self._take_in(engine, made, _once(data), condition)

    async def put_many(self, collection: str, uploads: Sequence[Upload]) -> None:
        made = [(draft(collection, one.key, one.metadata, one.tags), one.data) for one in uploads]
        small = [(one, data) for one, data in made if len(data) <= self._inline_limit]
        large = [(one, data) for one, data in made if len(data) > self._inline_limit]
        with self._now().busy() as engine:
            for first in range(0, len(small), _UPLOADS_AT_ONCE):
                some = small[first : first + _UPLOADS_AT_ONCE]
                await engine.write([Put(self._small(one, data)) for one, data in some])
            for one, data in large:
                await self._take_in(engine, one, _once(data), ANYWAY)

    async def put_stream(
        self,
        collection: str,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        limit: int | None = None,
        digest: str | None = None,
        condition: Condition = ANYWAY,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        made = draft(collection, key, metadata, tags)
        with self._now().busy() as engine:
            return await self._take_in(engine, made, chunks, condition, limit=limit, digest=digest)

    async def put_files(self, collection: str, files: Sequence[FileUpload]) -> list[ObjectInfo]:
        with self._now().busy() as engine:
            # All that is done for every one of the files is done in threads: there may be very many.
            take = partial(self._take_files, engine.blobs, collection, files)
            rows = await engine.movers.obtain(engine.blobs.give_up, take)
            await engine.write([Put(row) for row in rows])
            if self._housekeeping is not None:
                self._housekeeping.add(rows)
            await whatever(engine.movers.run(_remove, files), "remove files that are now objects")
            return await engine.movers.run(infos_of, rows)

    async def get(self, collection: str, key: str) -> bytes:
        engine = self._now()
        row, data = await engine.with_file(address_of(collection, key), engine.blobs.read)
        return (row.body or b"") if data is None else data

    async def head(self, collection: str, key: str) -> ObjectInfo:
        return info_of(await self._now().find(address_of(collection, key)))

    async def head_many(self, collection: str, keys: Iterable[str]) -> dict[str, ObjectInfo]:
        engine = self._now()
        infos: dict[str, ObjectInfo] = {}
        for some in _slices(list(dict.fromkeys(keys))):
            addresses = {key: address_of(collection, key) for key in some}
            rows = await engine.find_many(list(addresses.values()))
            infos |= {key: info_of(rows[address]) for key, address in addresses.items() if address in rows}
        return infos

    async def stream(
        self, collection: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        checked_range(start, stop, 0)
        engine = self._now()
        row, reader = await engine.with_file(address_of(collection, key), engine.blobs.open, undo=BlobReader.close)
        span = checked_range(start, stop, row.size)
        if reader is None:
            for at in span[::CHUNK]:
                yield (row.body or b"")[at : min(at + CHUNK, span.stop)]
            return
        try:
            for at in span[::_READ_AT_ONCE]:
                for piece in await engine.movers.run(reader.read, at, min(at + _READ_AT_ONCE, span.stop)):
                    yield piece
        finally:
            # Not here: the last one to close a deleted file waits until its blocks are freed.
            engine.movers.later(reader.close)

    async def open_sender(self, collection: str, key: str, socket: int) -> Sender | None:
        engine = self._now()
        own = os.dup(socket)  # At once: later on the number may be another's.
        try:
            row, reader = await engine.with_file(address_of(collection, key), engine.blobs.open, undo=BlobReader.close)
        except BaseException:
            os.close(own)
            raise
        if reader is None:
            os.close(own)
            return None
        return FileSender(engine.movers, info_of(row), BlobSender(reader, own))

    async def digest(self, collection: str, info: ObjectInfo) -> str | None:
        row = await self._now().find(address_of(collection, info.key))
        if row.etag != info.etag:
            return info.digest
        return row.digest if row.body is None else digest_of(row.body)

    async def give_digest(self, collection: str, key: str, etag: str, digest: str) -> bool:
        engine = self._now()
        row = await engine.find(address_of(collection, key))
        if row.etag != etag or row.file is None:
            return False
        with engine.busy():
            await engine.write([Digested(row.address, row.file, digest)])
        return True

    async def checkout(self, collection: str, key: str, target: Path, *, check: bool = True) -> ObjectInfo:
        return await check_out(self._now(), self._checks, address_of(collection, key), target, check=check)

    async def checkout_many(self, collection: str, targets: Mapping[str, Path]) -> dict[str, ObjectInfo]:
        infos: dict[str, ObjectInfo] = {}
        for some in _slices(list(targets)):
            infos |= await self._checkout_some(collection, {key: targets[key] for key in some})
        return infos

    async def _checkout_some(self, collection: str, targets: Mapping[str, Path]) -> dict[str, ObjectInfo]:
        engine = self._now()
        addresses = {key: address_of(collection, key) for key in targets}
        infos, rest = await link_many(engine, self._checks, addresses, targets)
        infos |= await super().checkout_many(collection, rest)
        return {key: infos[key] for key in targets if key in infos}

    async def delete(self, collection: str, *keys: str) -> None:
        drops = [Drop(address_of(collection, key)) for key in keys]
        with self._now().busy() as engine:
            for first in range(0, len(drops), _UPLOADS_AT_ONCE):
                await engine.write(drops[first : first + _UPLOADS_AT_ONCE])

    async def list(self, collection: str, *, prefix: str = "", after: str | None = None, limit: int = 1000) -> Page:
        if limit < 1:
            raise InvalidInput("A page has at least one object; give a limit of 1 or more.")
        bounds = checked_bound(prefix, "prefix"), checked_bound(after or "", "key to go on after")
        readers = self._now().readers
        rows = await in_time(readers.query(table.page, checked_collection(collection), *bounds, limit + 1))
        items = [info_of(row) for row in rows[:limit]]
        return Page(items, items[-1].key if len(rows) > limit else None)

    async def tags(self, collection: str, key: str) -> dict[str, str]:
        return from_text((await self._now().find(address_of(collection, key))).tags)

    async def set_tags(self, collection: str, key: str, tags: Mapping[str, str]) -> None:
        good = checked_tags(tags)
        since = self._moment().expiry if is_expiring(good) else None
        with self._now().busy() as engine:
            await engine.write([Retag(address_of(collection, key), as_text(good), since)])

    async def set_expiry(self, collection: str, days: float | None) -> None:
        if days is not None and not 0 <= days < math.inf:
            raise InvalidInput(f"Objects cannot expire after {days} days; give a number from 0 on, or None for never.")
        statement: Statement = ("DELETE FROM expiry WHERE collection = ?", (checked_collection(collection),))
        if days is not None:
            statement = ("INSERT OR REPLACE INTO expiry VALUES (?, ?)", (checked_collection(collection), days))
        with self._now().busy() as engine:
            await engine.write([], [statement])

    async def expiry_clock(self) -> ExpiryClock:
        return self._now().expiry

    async def presign(self, method: Literal["GET", "PUT"], collection: str, key: str, *, expires: float) -> str:
        address_of(collection, key)
        if self.public_url is None:
            raise Misconfigured("The object store does not know the gateway's address; set `public_url` first.")
        until = math.ceil(self._clock() + expires)
        return signing.signed_url(self.public_url, self._now().secret, method, collection, key, until)

    def check_signature(self, method: str, collection: str, key: str, query: Mapping[str, str]) -> None:
        signing.check_signature(self._now().secret, method, collection, key, query, self._clock())

    async def healthy(self) -> bool:
        statement = ("INSERT OR REPLACE INTO probe VALUES (1, ?)", (round(self._clock() * 1e6),))
        try:
            engine = self._now()
            await engine.write([], [statement])
            await in_time(engine.readers.query(table.expiry))
        except StoreUnavailable as error:
            log.warning("the object store is not healthy: %s", error, extra=waiting(error))
            return False
        return True

    def complaint(self) -> str | None:
        return FOLDER_GONE if self._engine is not None and self._engine.watch.missing() is not None else None

    async def sweep(self, now: float | None = None) -> int:
        """Deletes what has expired at `now`, in seconds since 1970, or by the clock of expiry. Returns how many objects
        that were."""
        with self._now().busy() as engine:
            until = engine.expiry.now() if now is None else now
            return await sweep.expire(engine.readers, engine.writer, round(until * 1e6))

    # How these are made of the store's parts.

    def _now(self) -> Engine:
        if self._engine is None:
            raise closed()
        return self._engine

    def _moment(self) -> Now:
        return Now(round(self._clock() * 1e6), round(self._expiry.now() * 1e6))

    def _inline(self, collection: str) -> int | None:
        """Up to how many bytes what is streamed or moved in is kept in the database; None: it is always a file."""
        return None if collection == DATA else self._inline_limit

    def _small(self, made: Draft, data: bytes) -> Row:
        return made.row(self._moment(), len(data), etag_of(data), body=bytes(data))

    def _take_files(self, blobs: Blobs, collection: str, files: Sequence[FileUpload]) -> Sequence[Row]:
        """Rows for files that are in the store by then."""
        made = [draft(collection, file.key, file.metadata, file.tags) for file in files]
        taken = blobs.take(files, self._inline(checked_collection(collection)))
        return [self._taken(one, found, file.digest) for one, found, file in zip(made, taken, files, strict=True)]

    def _taken(self, made: Draft, taken: Taken, digest: str | None) -> Row:
        if taken.body is not None:
            return self._small(made, taken.body)
        return made.row(self._moment(), taken.size, _new_etag(), file=taken.file, digest=digest)

    async def _take_in(
        self,
        engine: Engine,
        made: Draft,
        chunks: AsyncIterator[bytes],
        condition: Condition,
        *,
        limit: int | None = None,
        digest: str | None = None,
    ) -> ObjectInfo:
        inline = self._inline(made.address[0])
        came = await engine.take_in(
            made.address, chunks, inline=inline, limit=limit, digest=digest, condition=condition
        )
        if came.body is not None:
            return replace(await _store(engine, self._small(made, came.body), condition), digest=came.digest)
        row = made.row(self._moment(), came.size, _new_etag(), file=came.file, digest=came.digest)
        info = await _store(engine, row, condition)
        if came.file is not None and came.made is not None:
            self._checks.note(came.file, came.made)
        return info


async def _store(engine: Engine, row: Row, condition: Condition) -> ObjectInfo:
    await engine.write([Put(row, condition)])
    return info_of(row)


def _remove(files: Sequence[FileUpload]) -> None:
    for file in files:
        file.path.unlink(missing_ok=True)


def _slices(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """What is dealt with in one go; others' work comes in between."""
    return (keys[first : first + _ROWS_AT_ONCE] for first in range(0, len(keys), _ROWS_AT_ONCE))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _new_etag() -> str:
    """Not of the digest: it may come later than the object, and an etag never changes."""
    return secrets.token_hex(16)
