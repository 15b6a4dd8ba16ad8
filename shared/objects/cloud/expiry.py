"""The clock of expiry of a system whose store is others': kept as an object. What the store itself deletes goes by the
store's own clock."""

from __future__ import annotations

import logging
import time

from shared.expiry import ExpiryClock, begun_at
from shared.objects.base import ObjectStore
from voxloom.errors import NotFound

COLLECTION = "execution-store"
KEY = "expiry-clock"

log = logging.getLogger("voxloom.objects")


async def load(store: ObjectStore) -> ExpiryClock:
    """As of this start of the process."""
    return ExpiryClock(begun_at(await _kept(store), None, time.time()))


async def keep(store: ObjectStore, clock: ExpiryClock) -> None:
    await store.put(COLLECTION, KEY, repr(clock.now()).encode())


async def _kept(store: ObjectStore) -> float | None:
    try:
        return float(await store.get(COLLECTION, KEY))
    except NotFound:
        return None
    except ValueError:
        log.warning("the object %s in %s is no time, and is not used", KEY, COLLECTION)
        return None
