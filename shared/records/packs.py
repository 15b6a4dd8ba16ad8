"""Records of ended runs, many to an object.

    packs/<first>-<last>-<stamp>-<runs>-<token>

`first` and `last` are the least and the greatest of the times in the runs' ids (UUIDs of version 1, RFC 9562), `stamp`
says which pack is the newer one where two have the same run, and `token` is by chance: no name comes again, so what was
read of a pack holds for as long as it is there. An object has the length of its index (4 bytes), the index
(a JSON list of [id, bytes]) and then the records, in that order. It is written once. Small packs are merged into larger
ones; where a run is deleted, what is left goes into another pack.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import orjson

from shared.newest import Newest
from shared.objects.base import EXPIRING, ObjectStore, list_all
from voxloom.errors import Damaged, NotFound, Unavailable
from voxloom.ids import new_id

PREFIX = "packs/"
LARGEST_STATE = 64 << 10
"""Bytes of a record. A larger one has an object of its own."""
FULL = 1000
"""Records of a pack that is merged no more."""
MOST_BYTES = 8 << 20
"""Of the packs that are merged at once."""
MOST_SMALL = 32
"""So many packs that are not full may lie there before they are merged."""
_INDEXES = 32
"""So many are kept; one of a thousand runs takes a quarter of a megabyte."""
_FIRST_READ = 64 << 10
_TRIES = 5


class Pack(NamedTuple):
    """An object's name, and what it says."""

    key: str
    size: int
    first: int
    last: int
    stamp: str
    runs: int

    def may_have(self, run: str) -> bool:
        return self.first <= time_of(run) <= self.last


T = TypeVar("T")
Index = Mapping[str, tuple[int, int]]
"""Where in a pack a run's record begins and ends, in bytes."""


def time_of(run: str) -> int:
    """In steps of 100 ns. An id of another version has one, too: it says nothing, but it is always the same."""
    return uuid.UUID(run).time


def new_key(runs: Iterable[str], stamp: str) -> str:
    times = sorted(map(time_of, runs))
    return f"{PREFIX}{times[0]:015x}-{times[-1]:015x}-{stamp}-{len(times)}-{secrets.token_hex(4)}"


def pack_of(key: str, size: int) -> Pack:
    first, last, stamp, runs, _ = key.removeprefix(PREFIX).split("-")
    return Pack(key, size, int(first, 16), int(last, 16), stamp, int(runs))


def packed(records: Mapping[str, bytes]) -> bytes:
    index = orjson.dumps([[run, len(data)] for run, data in records.items()])
    return b"".join((len(index).to_bytes(4, "big"), index, *records.values()))


def index_of(head: bytes) -> Index | int:
    """What the beginning of a pack says; where that is not all of the index, the bytes that are needed."""
    end = 4 + int.from_bytes(head[:4], "big")
    if len(head) < end:
        return end
    places: dict[str, tuple[int, int]] = {}
    for run, size in orjson.loads(head[4:end]):
        places[run] = (end, end + size)
        end += size
    return places


def is_small(pack: Pack) -> bool:
    return pack.runs < FULL and pack.size < MOST_BYTES // 2


def to_merge(packs: Iterable[Pack]) -> list[Pack]:
    """The oldest of those that are not full, once there are many. All that are older than one of them are full, so that
    what comes of them is no newer than what it should be."""
    small = sorted(filter(is_small, packs), key=lambda pack: pack.stamp)
    chosen: list[Pack] = []
    if len(small) < MOST_SMALL:
        return chosen
    for pack in small:
        chosen.append(pack)
        if sum(one.runs for one in chosen) >= FULL or sum(one.size for one in chosen) >= MOST_BYTES:
            break
    return chosen


class Packs:
    """Reads and writes them. One process writes: the recorder."""

    def __init__(self, store: ObjectStore, collection: str) -> None:
        self._store = store
        self._collection = collection
        self._known: list[Pack] | None = None
        self._indexes: Newest[str, Index] = Newest(_INDEXES)
        self._small = MOST_SMALL
        """About so many packs that are not full there are: before the first look there may be many."""

    async def save(self, records: Mapping[str, bytes]) -> None:
        """Writes records by the ids of their runs; one that is there already counts no more."""
        await self._write(records, f"{time_of(new_id()):015x}")
        self._small += 1

    async def load(self, run: str) -> bytes | None:
        """The newest record of a run; None if no pack has one."""
        if self._known is not None:
            with suppress(NotFound):  # It has been merged since.
                if (found := await self._find(run, self._known)) is not None:
                    return found
        return await self._asked_of_all(lambda packs: self._find(run, packs))

    async def have(self, runs: Collection[str]) -> set[str]:
        """Those of the runs that have a record."""
        return await self._asked_of_all(lambda packs: self._among(runs, packs)) if runs else set()

    async def delete(self, runs: Collection[str]) -> None:
        """Writes anew what has records of these, without them."""
        gone = set(runs)
        for pack in await self._listed() if gone else ():
            with suppress(NotFound):  # It has expired since.
                if await self._among(gone, [pack]):
                    left = {run: data for run, data in (await self._read(pack)).items() if run not in gone}
                    await self._replace([pack], left, pack.stamp)

    async def merge(self) -> bool:
        """Makes one pack of some small ones, where there are many; whether there were."""
        if self._small < MOST_SMALL:
            return False
        packs = await self._listed()
        self._small = sum(map(is_small, packs))
        chosen = to_merge(packs)
        if not chosen:
            return False
        records: dict[str, bytes] = {}
        for pack in chosen:
            with suppress(NotFound):  # It has expired since.
                records |= await self._read(pack)
        await self._replace(chosen, records, chosen[-1].stamp)
        return True

    async def _write(self, records: Mapping[str, bytes], stamp: str) -> None:
        await self._store.put(self._collection, new_key(records, stamp), packed(records), tags=EXPIRING)
        self._known = None

    async def _replace(self, packs: Collection[Pack], records: Mapping[str, bytes], stamp: str) -> None:
        """What is left of these goes into one pack, before they go."""
        if records:
            await self._write(records, stamp)
        await self._store.delete(self._collection, *(pack.key for pack in packs))
        self._known = None

    async def _listed(self) -> list[Pack]:
        """The newest first."""
        found = [pack_of(item.key, item.size) async for item in list_all(self._store, self._collection, PREFIX)]
        self._known = sorted(found, key=lambda pack: pack.stamp, reverse=True)
        return self._known

    async def _asked_of_all(self, ask: Callable[[Sequence[Pack]], Awaitable[T]]) -> T:
        """Asks again where packs go meanwhile."""
        for _ in range(_TRIES):
            with suppress(NotFound):
                return await ask(await self._listed())
        raise Unavailable("The records change faster than they can be read; try again.")

    async def _among(self, runs: Collection[str], packs: Iterable[Pack]) -> set[str]:
        """Those of the runs that these have. Raises NotFound where a pack is gone."""
        found: set[str] = set()
        for pack in packs:
            if any(map(pack.may_have, runs)):
                found |= (await self._index(pack)).keys() & set(runs)
        return found

    async def _find(self, run: str, packs: Iterable[Pack]) -> bytes | None:
        """Raises NotFound where a pack is gone."""
        for pack in packs:
            if pack.may_have(run) and (place := (await self._index(pack)).get(run)) is not None:
                return await self._range(pack, *place)
        return None

    async def _index(self, pack: Pack) -> Index:
        if (known := self._indexes.get(pack.key)) is not None:
            return known
        found = index_of(await self._range(pack, 0, min(pack.size, _FIRST_READ)))
        if isinstance(found, int):
            found = index_of(await self._range(pack, 0, min(pack.size, found)))
        if isinstance(found, int):
            raise Damaged(f"{pack.key} in {self._collection} is cut off; restore it from a backup")
        self._indexes[pack.key] = found
        return found

    async def _read(self, pack: Pack) -> dict[str, bytes]:
        data, index = await self._store.get(self._collection, pack.key), await self._index(pack)
        return {run: data[start:stop] for run, (start, stop) in index.items()}

    async def _range(self, pack: Pack, start: int, stop: int) -> bytes:
        pieces = self._store.stream(self._collection, pack.key, start=start, stop=stop)
        return b"".join([piece async for piece in pieces])
