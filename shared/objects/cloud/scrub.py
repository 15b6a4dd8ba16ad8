"""Scrubs a store through its port, as one of S3 is: every object is read whole."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from shared.objects.base import COLLECTIONS, ObjectInfo, ObjectStore, list_all
from shared.objects.cloud.task_group import crew
from shared.objects.scrub import Scrubbed, State, expected, judge
from voxloom.digests import named
from voxloom.errors import NotFound, StoreUnavailable

_AT_ONCE = 16
_TRIES = 3
_PROBES = ("benchmark-store", "probe/")
"""Where the store tries things out; what is there is nobody's."""


async def scrub(store: ObjectStore, *, give: bool) -> AsyncIterator[Scrubbed]:
    """Every object; with `give`, one without a digest gets that of its bytes as they are now. Raises StoreUnavailable
    where the store does not answer."""
    for collection in COLLECTIONS:
        async for some in _portions(store, collection):
            found: dict[int, Scrubbed | None] = {}

            async def look(at: int, item: ObjectInfo, to: dict[int, Scrubbed | None] = found) -> None:
                to[at] = await _look(store, collection, item.key, give=give)  # noqa: B023 - done before the next one

            async with crew("objects.scrub", _AT_ONCE) as lookers:
                for at, item in enumerate(some):
                    await lookers.start(look, at, item)
            for at in range(len(some)):
                one = found[at]
                if one is not None:
                    yield one


async def _portions(store: ObjectStore, collection: str) -> AsyncIterator[list[ObjectInfo]]:
    some: list[ObjectInfo] = []
    async for item in list_all(store, collection):
        if (collection, item.key[: len(_PROBES[1])]) != _PROBES:
            some.append(item)
        if len(some) >= _AT_ONCE * 4:
            yield some
            some = []
    if some:
        yield some


async def _look(store: ObjectStore, collection: str, key: str, *, give: bool) -> Scrubbed | None:
    """None: the object was deleted meanwhile."""
    for _ in range(_TRIES):
        try:
            info = await store.head(collection, key)
            found = await _judged(store, collection, info, give=give)
            if not found.state.is_loss or (await store.head(collection, key)).etag == info.etag:
                return found
        except NotFound:
            return None
    return found


async def _judged(store: ObjectStore, collection: str, info: ObjectInfo, *, give: bool) -> Scrubbed:
    wanted = expected(collection, info.key, await store.digest(collection, info))
    try:
        size, digest = await _read(store, collection, info.key)
    except StoreUnavailable as error:
        return Scrubbed(collection, info.key, info.size, State.UNREADABLE, error.message)
    if size != info.size:
        return Scrubbed(collection, info.key, info.size, State.DAMAGED, f"it has {size} bytes instead of {info.size}")
    state = judge(wanted, digest)
    if state is State.UNKNOWN and give and await store.give_digest(collection, info.key, info.etag, digest):
        state = State.GIVEN
    return Scrubbed(collection, info.key, info.size, state, etag=info.etag, digest=digest)


async def _read(store: ObjectStore, collection: str, key: str) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    async for piece in store.stream(collection, key):
        size += len(piece)
        digest.update(piece)
    return size, named(digest.hexdigest())
