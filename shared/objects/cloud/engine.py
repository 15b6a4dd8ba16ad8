"""The parts of an open store, started and ended together. The adapter (s3.py) says what the port's words mean."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from shared.newest import Newest
from shared.objects.base import ObjectInfo
from shared.objects.cloud import buckets, digests, downloads
from shared.objects.cloud.background import Aside
from shared.objects.cloud.cache import NodeCache
from shared.objects.cloud.connection import Connection
from shared.objects.cloud.object_info import from_head
from shared.objects.cloud.place import S3Place, Spot
from shared.objects.cloud.presigning import Presigner
from shared.objects.cloud.scratch import Scratch
from shared.objects.cloud.uploads import Uploads
from shared.objects.disk.placing import Replaced, place
from shared.objects.disk.threads import Pool
from shared.objects.hashing import digest_at
from shared.objects.refusals import damaged
from voxloom.digests import digest_of
from voxloom.errors import Misconfigured, NotFound, StoreUnavailable

CLEAN_UP_SECS = 10.0
"""How long closing waits for uploads to be given up."""
SMALL = 64 * 1024
"""Bytes up to which an object is fetched anew every time: that is as quick as looking it up."""

_THREADS = 8
_OWN_DISK = "The disk of this machine that objects are brought to (`data`)"
_TRIES = 5
_REMEMBERED = 4096

log = logging.getLogger("voxloom.objects")


class Engine:
    """One opening of the store."""

    def __init__(self, connection: Connection, cache: NodeCache, pool: Pool, aside: Aside) -> None:
        self.connection = connection
        self.pool = pool
        self.uploads = Uploads(connection, aside, pool)
        self.presigner = Presigner(connection)
        self._cache = cache
        self._digests: Newest[str, str] = Newest(_REMEMBERED)
        self._exits = AsyncExitStack()

    @classmethod
    async def start(cls, place: S3Place, folder: Path, scratch: Scratch, cache_bytes: int) -> Engine:
        """Raises Misconfigured and StoreUnavailable, and leaves nothing open then."""
        async with AsyncExitStack() as exits:
            pool = Pool("objects.move", _THREADS, who=_OWN_DISK)
            exits.push_async_callback(pool.close)
            cache = NodeCache(folder / "cache", cache_bytes, pool)
            exits.push_async_callback(asyncio.to_thread, _release, scratch, cache)
            await _make(folder, scratch, cache)
            connection = await Connection.start(place)
            exits.push_async_callback(connection.close)
            aside = Aside()
            exits.push_async_callback(aside.close, CLEAN_UP_SECS)
            engine = cls(connection, cache, pool, aside)
            await buckets.prepare(connection)
            connection.tell_outages()
            engine._exits = exits.pop_all()
        return engine

    async def close(self) -> None:
        await self._exits.aclose()

    async def head(self, spot: Spot) -> ObjectInfo:
        return from_head(spot, await self.connection.call("head_object", spot))

    async def digest(self, spot: Spot, info: ObjectInfo) -> str | None:
        """Of an object whose metadata does not have it. Raises NotFound."""
        name = self._name(spot, info)
        if name not in self._digests:
            found = digests.noted(await digests.read_tags(self.connection, spot), info.etag)
            if found is None:
                return None
            self._digests[name] = found
        return self._digests[name]

    async def check_out(self, spot: Spot, target: Path) -> ObjectInfo:
        for _ in range(_TRIES):
            info = await self.head(spot)
            try:
                await self._place(spot, info, target)
            except (Replaced, downloads.ReplacedMeanwhile):
                continue
            return info
        raise StoreUnavailable("The object is replaced again and again while it is being fetched; try again.")

    async def shed(self, free: int) -> None:
        await self.pool.run(self._cache.trim, free)

    def find_cached(self, spot: Spot, info: ObjectInfo) -> Path | None:
        """Blocks."""
        return self._cache.find(self._name(spot, info))

    async def _place(self, spot: Spot, info: ObjectInfo, target: Path) -> None:
        """Raises Replaced when the target's folder vanishes, ReplacedMeanwhile when the object has changed, Damaged."""
        if info.size <= SMALL:
            data = await downloads.read_version(self.connection, spot, info.etag)
            await self._check(spot, info, lambda: digest_of(data))
            await self.pool.run(place, target, data)
            return
        fetch = partial(downloads.to_file, self.connection, spot, info.etag, info.size, pool=self.pool)
        check = partial(self._check_file, spot, info)
        await self._cache.obtain(self._name(spot, info), fetch, partial(place, target), check)

    async def _check_file(self, spot: Spot, info: ObjectInfo, path: Path) -> None:
        await self._check(spot, info, partial(digest_at, path))

    async def _check(self, spot: Spot, info: ObjectInfo, hashed: Callable[[], str]) -> None:
        """Raises Damaged where the bytes are not those of the object's digest, if it has one."""
        try:
            digest = info.digest or await self.digest(spot, info)
        except NotFound:  # Deleted just now, or a server without tags.
            return
        if digest is not None and await self.pool.run(hashed) != digest:
            error = damaged(spot.collection, spot.key)
            log.error("%s", error.message)
            raise error

    def _name(self, spot: Spot, info: ObjectInfo) -> str:
        """Of the file in the cache that has this version of the object, and no other."""
        what = (self.connection.place.endpoint or "", spot.bucket, spot.s3_key, info.etag, str(info.size))
        return hashlib.sha256("\0".join(what).encode()).hexdigest()


async def _make(folder: Path, scratch: Scratch, cache: NodeCache) -> None:
    try:
        await asyncio.to_thread(scratch.open)
        await asyncio.to_thread(cache.open)
    except OSError as error:
        raise Misconfigured(
            f"The object store cannot use the folder {folder} ({error.strerror}); make it writable for this user, or "
            "set `data` to another folder."
        ) from error


def _release(scratch: Scratch, cache: NodeCache) -> None:
    cache.close()
    scratch.close()
