"""What one decider must not forget: the events that it has taken in, and now and then all that followed from them.

    segments/<number>             the events of one append, in the order they came; written once (`If-None-Match`)
    snapshots/<number>-<epoch>    the memory as of that segment; the segments up to it go

There is one writer at a time, and whoever writes beside another finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from messages.base import Event
from messages.packing import pack, unpack_known
from shared.objects.base import ABSENT, ObjectStore, list_all
from voxloom.errors import Conflict, NotFound, Unavailable

_LOAD_TRIES = 20


class AnotherWriter(Exception):
    """Somebody else writes the journal, too: there is a second of our kind, and this one must stop."""


class DamagedJournal(Exception):
    """A segment is missing that nobody should have removed."""


class Memory(Protocol):
    """What a journal is replayed into."""

    segment: int
    """The number of the last one that was taken in; 0 before the first."""

    def replay(self, number: int, events: Sequence[Event]) -> None: ...


class Saved(NamedTuple):
    """A snapshot, as it lies in the store."""

    key: str
    data: bytes


_M = TypeVar("_M", bound=Memory)


class Journal:
    def __init__(self, store: ObjectStore, collection: str) -> None:
        self._store = store
        self._collection = collection

    # the writer's

    async def append(self, number: int, events: Sequence[Event]) -> None:
        """Writes one segment. Raises AnotherWriter."""
        data = pack(events)
        try:
            await self._store.put(self._collection, _segment_key(number), data, condition=ABSENT)
        except Conflict:
            # A write whose answer got lost looks like a conflict: it is none if the bytes are ours.
            if await self._segment(number) != data:
                raise AnotherWriter(f"segment {number} was written by somebody else") from None

    async def check_alone(self, segment: int) -> None:
        """Raises AnotherWriter if there is a snapshot of more than the segments up to `segment`."""
        newest = await self._newest()
        if newest is not None and _segment_of(newest) > segment:
            raise AnotherWriter(f"there is a snapshot beyond segment {segment}, written by somebody else")

    async def save(self, segment: int, epoch: int, data: bytes) -> str:
        """Writes a snapshot, and returns its key."""
        key = f"snapshots/{segment:012d}-{epoch:06d}"
        await self._store.put(self._collection, key, data)
        return key

    async def drop_before(self, snapshot_key: str, segment: int) -> None:
        """Removes the snapshots before that one, and the segments that it covers. Raises AnotherWriter if there is a
        later one."""
        keys = [item.key async for item in list_all(self._store, self._collection, "snapshots/")]
        covered = []
        async for item in list_all(self._store, self._collection, "segments/"):
            if item.key > _segment_key(segment):
                break
            covered.append(item.key)
        await self._store.delete(self._collection, *(key for key in keys if key < snapshot_key), *covered)
        if any(key > snapshot_key for key in keys):
            raise AnotherWriter("there is a later snapshot, written by somebody else")

    # every reader's

    async def load(self, restore: Callable[[Saved | None], _M]) -> _M:
        """What `restore` makes of the newest snapshot, after all segments that follow. Raises DamagedJournal.

        A writer on its way out may still write its last snapshot, and remove what that covers while it is read here:
        then everything is read anew.
        """
        for _ in range(_LOAD_TRIES):
            newest = await self._newest()
            try:
                memory = await self._replay(newest, restore)
            except (NotFound, DamagedJournal):
                if await self._newest() == newest:
                    raise
            else:
                if await self._newest() == newest:
                    return memory
        raise _too_fast()

    async def _replay(self, newest: str | None, restore: Callable[[Saved | None], _M]) -> _M:
        memory = restore(None if newest is None else await self._saved(newest))
        async for item in list_all(self._store, self._collection, "segments/", after=_segment_key(memory.segment)):
            number = int(item.key.rpartition("/")[2])
            if number != memory.segment + 1:
                missing = memory.segment + 1
                raise DamagedJournal(f"segment {missing} of {self._collection} is missing; restore it from a backup")
            memory.replay(number, unpack_known(item.key, await self._store.get(self._collection, item.key)))
        return memory

    async def snapshot(self, key: str | None = None) -> Saved | None:
        """The one under `key`, or the newest; None if there has never been one. Raises NotFound where the one that was
        asked for has been replaced by a newer one, Unavailable where that goes on and on."""
        if key is not None:
            return await self._saved(key)
        for _ in range(_LOAD_TRIES):
            key = await self._newest()
            try:
                return await self._saved(key) if key is not None else None
            except NotFound:
                continue  # The writer has just replaced it.
        raise _too_fast()

    async def _saved(self, key: str) -> Saved:
        return Saved(key, await self._store.get(self._collection, key))

    async def _segment(self, number: int) -> bytes | None:
        try:
            return await self._store.get(self._collection, _segment_key(number))
        except NotFound:
            return None

    async def _newest(self) -> str | None:
        newest = None
        async for item in list_all(self._store, self._collection, "snapshots/"):
            newest = item.key
        return newest


def _too_fast() -> Unavailable:
    return Unavailable("The records change faster than they can be read; try again.")


def _segment_key(number: int) -> str:
    return f"segments/{number:012d}"


def _segment_of(snapshot_key: str) -> int:
    return int(snapshot_key.rpartition("/")[2].partition("-")[0])
