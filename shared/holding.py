"""Lists of files that do not expire, since somebody needs them who has not ended: a run, or a sample.

In `data-store`, `held/<run>` and `held/sample-<id>`. Who holds files writes the list first, then takes their tags, and
then looks whether they are there and nobody deletes them; who deletes a file whose time is over notes that first, and
then looks at the lists. So of the two at the same time, one finds the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

import orjson

from shared import files
from shared.objects.base import AT_ONCE, EXPIRING, ObjectStore
from voxloom.errors import InvalidInput, NotFound

HELD = "held/"
HELD_BY_SAMPLES = f"{HELD}sample-"
_AFTER_SAMPLES = f"{HELD}sample."
"""The next character after the dash: behind the keys of all samples."""


async def hold(store: ObjectStore, holder: str, file_ids: Iterable[str]) -> None:
    """From now on the files do not expire, nor those that the holder has had. Doing it again mends what was left
    undone."""
    before = await list_of(store, holder)
    ids = before.union(file_ids)
    if ids != before:
        await store.put(files.COLLECTION, HELD + holder, orjson.dumps(sorted(ids)))
    await _tag(store, ids, {})


async def pin(store: ObjectStore, run: str, file_ids: Iterable[str]) -> list[str]:
    """Holds the inputs of a run that is about to be asked for, beside those of others who ask for it under the same id.
    Returns those that are gone, or that somebody is deleting."""
    wanted = list(dict.fromkeys(file_ids))
    await hold(store, run, wanted)
    going = set(await files.being_deleted(store, wanted))
    there = await files.locate_many(store, wanted)
    return [one for one in wanted if one not in there or one in going]


async def list_of(store: ObjectStore, holder: str) -> set[str]:
    """What a run or a sample holds."""
    try:
        return set(orjson.loads(await store.get(files.COLLECTION, HELD + holder)))
    except NotFound:
        return set()


async def let_expire(store: ObjectStore, file_ids: Iterable[str]) -> None:
    await _tag(store, file_ids, EXPIRING)


async def lists_of(store: ObjectStore, holders: Sequence[str]) -> AsyncIterator[set[str]]:
    """What each of them holds."""
    for start in range(0, len(holders), AT_ONCE):
        for ids in await asyncio.gather(*(list_of(store, one) for one in holders[start : start + AT_ONCE])):
            yield ids


async def held_by_runs(store: ObjectStore, file_ids: Iterable[str], *, but: Collection[str] = ()) -> set[str]:
    """Those of the files that runs have which have not ended; the lists of some may be left out. What samples have is
    known without their lists, of which there may be very many: those are stepped over."""
    wanted = set(file_ids)
    if not wanted:
        return set()
    known = _known.setdefault(store, KnownLists())
    there = {run: etag async for run, etag in _runs(store) if run not in but}
    return {one async for ids in known.of(store, there) for one in wanted & ids}


class KnownLists:
    """The lists of runs, each read once for as long as it is the same: where files go early, every run has one."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        """Ids of files, for what they take of memory. What is more is read each time."""
        self._read: dict[str, tuple[str, set[str]]] = {}

    async def of(self, store: ObjectStore, there: Mapping[str, str]) -> AsyncIterator[set[str]]:
        """Of all the runs that have one now, by the etags of their lists."""
        self._read = {run: read for run, read in self._read.items() if there.get(run) == read[0]}
        known = [ids for _, ids in self._read.values()]
        room = self._most - sum(map(len, known))
        new = [run for run in there if run not in self._read]
        for ids in known:
            yield ids
        index = 0
        async for ids in lists_of(store, new):
            if (room := room - len(ids)) >= 0:
                self._read[new[index]] = there[new[index]], ids
            index += 1
            yield ids


_known: WeakKeyDictionary[ObjectStore, KnownLists] = WeakKeyDictionary()


async def _runs(store: ObjectStore) -> AsyncIterator[tuple[str, str]]:
    """And the etags of their lists: page by page, up to the first list of a sample, and on behind the last."""
    after: str | None = None
    while True:
        page = await store.list(files.COLLECTION, prefix=HELD, after=after)
        keys = [item.key for item in page.items]
        for item in page.items:
            if not item.key.startswith(HELD_BY_SAMPLES):
                yield item.key.removeprefix(HELD), item.etag
        if page.next is None:
            return
        after = max(page.next, _AFTER_SAMPLES) if keys[-1].startswith(HELD_BY_SAMPLES) else page.next


async def _tag(store: ObjectStore, file_ids: Iterable[str], tags: Mapping[str, str]) -> None:
    keys = [key for file_id in file_ids for key in (files.bytes_key(file_id), files.entry_key(file_id))]
    for start in range(0, len(keys), AT_ONCE):
        await asyncio.gather(*(_tag_one(store, key, tags) for key in keys[start : start + AT_ONCE]))


async def _tag_one(store: ObjectStore, key: str, tags: Mapping[str, str]) -> None:
    with suppress(NotFound, InvalidInput):  # It is gone, or was no file's id in the first place.
        await store.set_tags(files.COLLECTION, key, tags)
