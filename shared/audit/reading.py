"""The audit, page by page, the newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shared.audit.batches import COLLECTION, DAY, LONG, PREFIX, Batch, Place, batch_of, key_from, place_of, unpacked
from shared.objects.base import ObjectStore
from voxloom.errors import NotFound, StoreUnavailable
from voxloom.models import AuditEntry

READ_AT_ONCE = 4
MOST_READ = 40
"""Objects that one page reads: who looks for little in much gets short pages, and goes on."""
MOST_LISTED = 50
"""Pages of a thousand keys that are listed for it."""
_TRIES = 3


class Part(NamedTuple):
    entries: list[AuditEntry]
    """The newest first."""
    after: Place | None
    """Where to go on; None: there is nothing more."""


class Wanted(NamedTuple):
    limit: int
    fits: Callable[[AuditEntry], bool]
    after: Place | None = None
    """Only what is older than this one."""
    since: int | None = None
    """In microseconds; nothing older."""
    until: int | None = None
    """Nothing of this moment or newer."""

    @property
    def top(self) -> Place | None:
        """All that is wanted comes before this."""
        until = None if self.until is None else (self.until, "")
        return min((one for one in (self.after, until) if one is not None), default=None)


async def read(store: ObjectStore, wanted: Wanted) -> Part:
    """Raises StoreUnavailable."""
    for _ in range(_TRIES):
        try:
            return await _read(store, wanted)
        except NotFound:  # Objects are just being put together.
            continue
    raise StoreUnavailable("The audit changes faster than it can be read; try again.")


class _Merge:
    """Entries of objects that overlap, in one order, each once."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._waiting: list[tuple[Place, bool, AuditEntry]] = []
        self.found: list[AuditEntry] = []
        self.last: Place | None = None
        """Of all that was looked at."""

    @property
    def full(self) -> bool:
        return len(self.found) >= self._wanted.limit

    def add(self, contents: Sequence[bytes], down_to: int) -> None:
        """Takes what is newer than this moment, until the page is full: nothing of that can come any more. Of a large
        object that takes its time."""
        top = self._wanted.top
        for entry in (entry for data in contents for entry in unpacked(data)):
            place = place_of(entry)
            if top is None or place < top:
                self._waiting.append((place, entry.outcome != "begun", entry))
        # The newest last, and of two of one place the one that has ended.
        self._waiting.sort(key=lambda one: one[:2])
        while self._waiting and not self.full and self._waiting[-1][0][0] > down_to:
            self._take(*self._waiting.pop())

    def _take(self, place: Place, _: bool, entry: AuditEntry) -> None:
        if place == self.last:
            return
        self.last = place
        if self._wanted.fits(entry):
            self.found.append(entry)


async def _read(store: ObjectStore, wanted: Wanted) -> Part:
    merge, lister = _Merge(wanted), _Lister(store, wanted)
    down_to = -1 if wanted.since is None else wanted.since - 1
    for _ in range(MOST_READ // READ_AT_ONCE):
        batches = await lister.next(READ_AT_ONCE)
        contents = await asyncio.gather(*(store.get(COLLECTION, one.key) for one in batches))
        await _aside(contents, merge, max(down_to, lister.ahead))
        if merge.full:
            return Part(merge.found, merge.last)
        if lister.ahead <= down_to:
            return Part(merge.found, None)
    # All that is newer than what would come next was looked at.
    return Part(merge.found, (lister.ahead + 1, ""))


async def _aside(contents: Sequence[bytes], merge: _Merge, down_to: int) -> None:
    """What is long is read in a thread."""
    if sum(map(len, contents)) < LONG:
        merge.add(contents, down_to)
    else:
        await asyncio.to_thread(merge.add, contents, down_to)


class _Lister:
    """Objects that may have what is wanted, the one with the newest entry first."""

    def __init__(self, store: ObjectStore, wanted: Wanted) -> None:
        self._store = store
        self._top = wanted.top
        self._since = wanted.since
        # An entry is in an object whose newest one is of the same day.
        self._after: str | None = None if self._top is None else key_from((self._top[0] // DAY + 1) * DAY)
        self._known: list[Batch] = []
        self._more = True
        self._pages = 0

    @property
    def ahead(self) -> int:
        """The time of the newest entry of the objects to come; -1: there are none."""
        return self._known[0].newest if self._known else -1

    async def next(self, most: int) -> list[Batch]:
        while len(self._known) <= most and self._more:
            await self._list()
        some, self._known = self._known[:most], self._known[most:]
        return some

    async def _list(self) -> None:
        self._pages += 1
        if self._pages > MOST_LISTED:
            raise StoreUnavailable("The audit is being put together just now; try again in a minute.")
        page = await self._store.list(COLLECTION, prefix=PREFIX, after=self._after)
        self._after, self._more = page.next, page.next is not None
        for item in page.items:
            batch = batch_of(item.key)
            if batch is None or (self._top is not None and batch.oldest > self._top[0]):
                continue
            if self._since is not None and batch.newest < self._since:
                self._more = False
                break
            self._known.append(batch)
