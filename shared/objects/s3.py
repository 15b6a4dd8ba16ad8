"""The object store of many machines: any S3 server that keeps conditions. The parts are in shared/objects/cloud/.

Large objects go both ways in parts, many at once, and never whole through memory. What is checked out comes from a
cache that all processes of a node share. The keys to the store are found where botocore looks for them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from shared.expiry import ExpiryClock
from shared.objects.base import ANYWAY, AT_ONCE, Condition, FileUpload, ObjectInfo, ObjectStore, Page, Sender, Upload
from shared.objects.checks import (
    MOST_TAGS,
    checked_bound,
    checked_collection,
    checked_metadata,
    checked_range,
    checked_tags,
)
from shared.objects.cloud import deletions, digests, downloads, expiry, files, lifecycle, selftest
from shared.objects.cloud.connection import body_of
from shared.objects.cloud.engine import Engine
from shared.objects.cloud.object_info import DIGEST, from_listing
from shared.objects.cloud.parts import PART
from shared.objects.cloud.place import S3Place, Spot
from shared.objects.cloud.scratch import Scratch
from shared.objects.cloud.sending import open_cached
from shared.objects.cloud.task_group import crew
from shared.objects.cloud.uploads import Write
from shared.objects.disk.failures import closed
from shared.outages import waiting
from voxloom.errors import InvalidInput, VoxloomError

__all__ = ["S3ObjectStore", "S3Place"]

HEALTHY_WITHIN = 4.0
"""Less than whoever asks waits for it (shared/ops.py): else nobody would be told why."""

_FILES_AT_ONCE = 16
_LARGEST_PAGE = 1000

log = logging.getLogger("voxloom.objects")
# Where the keys were found is nothing to tell at every start.
logging.getLogger("aiobotocore.credentials").setLevel(logging.WARNING)


class S3ObjectStore(ObjectStore):
    """`folder` is for what is on its way and for the node's cache; processes of one node should have the same one.

    Besides the port's errors, `open` raises Misconfigured: when the buckets are not ours, or conditions are not kept.
    """

    def __init__(self, place: S3Place, folder: Path, *, cache_bytes: int = 64 << 30) -> None:
        self._place = place
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._scratch = Scratch(folder / "scratch")
        self._engine: Engine | None = None
        self._expiry: ExpiryClock | None = None

    @property
    def scratch(self) -> Path:
        """This process's own; it goes when the store is closed."""
        return self._scratch.path

    async def open(self) -> None:
        self._engine = await Engine.start(self._place, self._folder, self._scratch, self._cache_bytes)

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    async def shed(self, free: int) -> None:
        await self._now().shed(free)

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
        write = self._write(collection, key, metadata, tags, condition)
        uploads = self._now().uploads
        if len(data) <= PART:
            return await uploads.put(write, body_of(data))
        return await uploads.put_stream(write, _once(data), None)

    async def put_many(self, collection: str, uploads: Sequence[Upload]) -> None:
        for one in uploads:
            self._write(collection, one.key, one.metadata, one.tags)
        async with crew("objects.put", AT_ONCE) as putters:
            for one in uploads:
                await putters.start(self._put_one, collection, one)

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
        write = replace(self._write(collection, key, metadata, tags, condition), digest=digest)
        return await self._now().uploads.put_stream(write, chunks, limit)

    async def put_files(self, collection: str, files_: Sequence[FileUpload]) -> list[ObjectInfo]:
        engine = self._now()
        writes = [self._write(collection, one.key, one.metadata, one.tags) for one in files_]
        sizes = await engine.pool.run(files.sizes_of, files_)
        infos: dict[int, ObjectInfo] = {}

        async def send(at: int) -> None:
            infos[at] = await _put_file(engine, writes[at], files_[at].path, sizes[at])

        async with crew("objects.put", _FILES_AT_ONCE) as putters:
            for at in range(len(files_)):
                await putters.start(send, at)
        await engine.pool.run(files.remove, files_)
        return [infos[at] for at in range(len(files_))]

    async def get(self, collection: str, key: str) -> bytes:
        return await downloads.read_all(self._now().connection, self._spot(collection, key))

    async def head(self, collection: str, key: str) -> ObjectInfo:
        return await self._now().head(self._spot(collection, key))

    async def stream(
        self, collection: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        checked_range(start, stop, 0)
        async for piece in downloads.stream(self._now().connection, self._spot(collection, key), start, stop):
            yield piece

    async def open_sender(self, collection: str, key: str, socket: int) -> Sender | None:
        """Only what the node's cache has is in a file of this machine."""
        engine = self._now()
        own = os.dup(socket)  # At once: later on the number may be another's.
        try:
            return await open_cached(engine, self._spot(collection, key), own)
        except BaseException:
            os.close(own)
            raise

    async def digest(self, collection: str, info: ObjectInfo) -> str | None:
        return info.digest or await self._now().digest(self._spot(collection, info.key), info)

    async def give_digest(self, collection: str, key: str, etag: str, digest: str) -> bool:
        spot, connection = self._spot(collection, key), self._now().connection
        return await digests.note(connection, spot, etag, digest, await digests.read_tags(connection, spot))

    async def checkout(self, collection: str, key: str, target: Path, *, check: bool = True) -> ObjectInfo:
        """What comes out of the node's cache was checked when it came there."""
        return await self._now().check_out(self._spot(collection, key), target)

    async def delete(self, collection: str, *keys: str) -> None:
        spots = [self._spot(collection, key) for key in dict.fromkeys(keys)]
        await deletions.delete(self._now().connection, spots)

    async def list(self, collection: str, *, prefix: str = "", after: str | None = None, limit: int = 1000) -> Page:
        if limit < 1:
            raise InvalidInput("A page has at least one object; give a limit of 1 or more.")
        checked_bound(prefix, "prefix")
        checked_bound(after or "", "key to go on after")
        bucket, before = self._place.bucket(checked_collection(collection)), self._place.prefix(collection)
        items: list[ObjectInfo] = []
        while True:
            start: dict[str, Any] = {"StartAfter": before + after} if after else {}
            answer = await self._now().connection.call(
                "list_objects_v2",
                Spot(bucket, collection=collection),
                Prefix=before + prefix,
                # One more shows whether there is more: some servers say so of folders that have become empty.
                MaxKeys=min(limit - len(items) + 1, _LARGEST_PAGE),
                **start,
            )
            items += [from_listing(item, before) for item in answer.get("Contents", [])]
            more = bool(answer["IsTruncated"] and items)
            if len(items) > limit or (more and len(items) == limit):
                return Page(items[:limit], items[limit - 1].key)
            if not more:
                return Page(items, None)
            after = items[-1].key

    async def tags(self, collection: str, key: str) -> dict[str, str]:
        found = await digests.read_tags(self._now().connection, self._spot(collection, key))
        return {name: value for name, value in found.items() if name != DIGEST}

    async def set_tags(self, collection: str, key: str, tags: Mapping[str, str]) -> None:
        """The time of an expiring object counts from when it was written, whatever its tags were in between."""
        given = checked_tags(tags)
        spot, connection = self._spot(collection, key), self._now().connection
        found = await digests.read_tags(connection, spot)
        kept = {DIGEST: found[DIGEST]} if DIGEST in found and len(given) < MOST_TAGS else {}
        await digests.put_tags(connection, spot, {**given, **kept})

    async def set_expiry(self, collection: str, days: float | None) -> None:
        """In whole days, rounded up, and from one on: S3 knows no others."""
        if days is not None and not 0 <= days < math.inf:
            raise InvalidInput(f"Objects cannot expire after {days} days; give a number from 0 on, or None for never.")
        await lifecycle.set_expiry(self._now().connection, checked_collection(collection), days)

    async def presign(self, method: Literal["GET", "PUT"], collection: str, key: str, *, expires: float) -> str:
        return await self._now().presigner.sign(method, self._spot(collection, key), expires)

    async def expiry_clock(self) -> ExpiryClock:
        if self._expiry is None:
            self._expiry = await expiry.load(self)
        return self._expiry

    async def keep_expiry_clock(self) -> None:
        await expiry.keep(self, await self.expiry_clock())

    async def healthy(self) -> bool:
        try:
            async with asyncio.timeout(HEALTHY_WITHIN):
                await self._probe()
        except TimeoutError:
            self._now().connection.was_away(f"no answer within {HEALTHY_WITHIN:g} s")
            return False
        except VoxloomError as error:
            log.warning("the object store is not healthy: %s", error, extra=waiting(error))
            return False
        return True

    async def self_test(self) -> None:
        """Puts and gets an object through presigned URLs, as people do. Raises Misconfigured with what is wrong."""
        await selftest.run(self._now())

    # How these are made of the store's parts.

    def _now(self) -> Engine:
        if self._engine is None:
            raise closed()
        return self._engine

    def _spot(self, collection: str, key: str) -> Spot:
        return self._place.spot(collection, key)

    def _write(
        self,
        collection: str,
        key: str,
        metadata: Mapping[str, str] | None,
        tags: Mapping[str, str] | None,
        condition: Condition = ANYWAY,
    ) -> Write:
        return Write(self._spot(collection, key), checked_metadata(metadata), checked_tags(tags), condition)

    async def _put_one(self, collection: str, one: Upload) -> None:
        await self.put(collection, one.key, one.data, metadata=one.metadata, tags=one.tags)

    async def _probe(self) -> None:
        connection, folder = self._now().connection, self._place.probe
        spot = folder._replace(s3_key=f"{folder.s3_key}health", key="health")
        await connection.call("put_object", spot, Body=body_of(b"well"))
        await downloads.read_all(connection, spot)


async def _put_file(engine: Engine, write: Write, path: Path, size: int) -> ObjectInfo:
    if size <= PART:
        return await engine.uploads.put(write, body_of(await engine.pool.run(files.read, path, 0, size)))
    return await engine.uploads.put_parts(write, files.parts_of(engine.pool, path, size))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
