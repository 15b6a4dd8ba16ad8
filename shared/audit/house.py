"""What keeps the audit few objects, and no older than it is to be. Any number of gateways may do it at once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

from shared.audit.batches import COLLECTION, PREFIX, Batch, batch_of, key_from, micros, packed, to_unite, unpack
from shared.expiry import ExpiryClock
from shared.objects.base import ABSENT, AT_ONCE, ObjectStore, list_all
from voxloom.errors import Conflict, NotFound, VoxloomError
from voxloom.models import AuditEntry, utc_now

FIRST_SECS = 60.0
EVERY_SECS = 900.0

log = logging.getLogger("voxloom.audit")


async def keep_house(store: ObjectStore, clock: ExpiryClock, days: float | None) -> None:
    """Without end. `days`: how long entries are kept; None: for ever. `clock` is the one that expiry goes by: one that
    is wrong by years must not cost the audit."""
    pause = FIRST_SECS
    while True:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that gateways take turns
        pause = EVERY_SECS
        try:
            if days is not None:
                await expire(store, micros(clock.moment() - timedelta(days=days)))
            await unite(store)
        except VoxloomError as error:
            log.warning("the audit is put together later: %s", error)


async def unite(store: ObjectStore) -> int:
    """Makes few objects of many. Returns how many are gone. What others do to the same at the same time, or a kill, may
    leave something twice: then it counts once, and the next time it is put together."""
    batches = [one async for one in _batches(store)]
    gone = 0
    for group in to_unite(batches, micros(utc_now())):
        with suppress(NotFound):  # Somebody else does the same.
            gone += await _unite(store, group)
    return gone


async def _unite(store: ObjectStore, group: list[Batch]) -> int:
    entries: list[AuditEntry] = []
    for start in range(0, len(group), AT_ONCE):
        keys = [one.key for one in group[start : start + AT_ONCE]]
        for data in await asyncio.gather(*(store.get(COLLECTION, key) for key in keys)):
            entries += await unpack(data)
    made = set()
    for key, data in packed(entries):
        with suppress(Conflict):
            await store.put(COLLECTION, key, data, condition=ABSENT)
        made.add(key)
    old = [one.key for one in group if one.key not in made]
    await store.delete(COLLECTION, *old)
    return len(old)


async def expire(store: ObjectStore, before: int) -> int:
    """Removes objects that have nothing newer than this moment, in microseconds. Returns how many."""
    old = [item.key async for item in list_all(store, COLLECTION, PREFIX, after=key_from(before))]
    await store.delete(COLLECTION, *old)
    return len(old)


async def _batches(store: ObjectStore) -> AsyncIterator[Batch]:
    async for item in list_all(store, COLLECTION, PREFIX):
        if (batch := batch_of(item.key)) is not None:
            yield batch
