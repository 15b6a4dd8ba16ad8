"""Lists of files: what is sorted and searched is in memory, and whether a file may be seen is looked up for those that
are shown.

Files that come and go are heard of; those that expire are not, and are found out when they are to be shown.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from messages.base import Event
from messages.files import FileCommitted, FileDeleted
from messages.runs import RunCompleted
from services.gateway.http.paging import Page, PageQuery, cursor_at, position_of
from services.gateway.views.visibility import FileSight
from shared.caller import Caller
from shared.files import COLLECTION, Located, bytes_key, locate_many
from shared.objects.base import AT_ONCE, ObjectInfo, ObjectStore, list_all
from shared.objects.checks import is_expiring
from voxloom.errors import NotFound
from voxloom.filemodels import FileKind
from voxloom.ids import is_id

LISTED_SECS = 600.0
"""How long a listing of the store is good: what is missed in the stream is found after that."""
MOST_NEW = 20_000
"""Files heard of; if there are more since somebody has asked for a list, the store is listed anew."""

Sort = Literal["newest", "oldest", "largest", "smallest"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILES, _ENTRIES = "files/", "entries/"


class Known(NamedTuple):
    """A file of which nobody knows yet whether it may be seen. `created`: microseconds since 1970."""

    file_id: str
    created: int
    size: int
    uploaded: bool


@dataclass(frozen=True)
class Query:
    page: PageQuery
    caller: Caller
    sort: Sort = "newest"
    kind: FileKind | None = None
    name: str | None = None
    """What the id contains, without regard to case."""
    among: frozenset[str] | None = None
    """Only these; None: any."""
    since: datetime | None = None
    until: datetime | None = None
    """Before then."""
    expiring: bool = False
    """Only those that nothing holds."""

    @property
    def order(self) -> str:
        return f"files:{self.sort}"

    def wants(self) -> Callable[[Known], bool]:
        name = self.name.casefold() if self.name is not None else None
        since = _microseconds(self.since) if self.since is not None else None
        until = _microseconds(self.until) if self.until is not None else None

        def wanted(file: Known) -> bool:
            return (
                (self.kind is None or file.uploaded == (self.kind == "upload"))
                and (since is None or file.created >= since)
                and (until is None or file.created < until)
                and (self.among is None or file.file_id in self.among)
                and (name is None or name in file.file_id.casefold())
            )

        return wanted


class FileIndex:
    def __init__(self, store: ObjectStore, sight: FileSight) -> None:
        self._store = store
        self._sight = sight
        self._known: dict[str, Known] = {}
        self._sorted: dict[str, list[tuple[int, str]]] = {}
        self._new: set[str] = set()
        self._good_until = 0.0
        self._reading = asyncio.Lock()

    def hear(self, event: Event) -> None:
        if isinstance(event, FileCommitted):
            self._new.add(event.subject)
        elif isinstance(event, RunCompleted):
            # Algorithms may return texts, too: those name nothing. What a run has made has an id of ours.
            self._new.update(filter(is_id, event.result.outputs))
        elif isinstance(event, FileDeleted):
            self._forget([event.subject])
        if len(self._new) > MOST_NEW:
            self._new.clear()
            self._good_until = 0.0

    async def page(self, query: Query) -> Page[Located]:
        """Files that may be seen. Raises InvalidInput for a cursor that is not of this list and sort."""
        after = position_of(query.page, query.order, int, str)
        await self._read()
        limit = query.page.limit
        places = self._after(query.sort, (int(after[0]), str(after[1])) if after is not None else None)
        found: list[Located] = []
        while len(found) <= limit and (some := self._take(places, query.wants(), limit + 1 - len(found))):
            visible = await self._sight.visible_of(some)
            self._forget(await self._gone(set(some) - visible.keys()))
            own = [file for file in visible.values() if query.caller.owns(file.project)]
            found += await self._expiring(own) if query.expiring else own
        last = self._known.get(found[limit - 1].file_id) if len(found) > limit else None
        cursor = cursor_at(query.order, _position(query.sort, last)) if last is not None else None
        return Page(found[:limit], cursor)

    async def _expiring(self, files: Sequence[Located]) -> list[Located]:
        found: list[Located] = []
        for start in range(0, len(files), AT_ONCE):
            some = files[start : start + AT_ONCE]
            loose = await asyncio.gather(*(self._is_loose(file.file_id) for file in some))
            found += [file for file, is_so in zip(some, loose, strict=True) if is_so]
        return found

    async def _is_loose(self, file_id: str) -> bool:
        try:
            return is_expiring(await self._store.tags(COLLECTION, bytes_key(file_id)))
        except NotFound:  # It has gone just now.
            return False

    async def _gone(self, file_ids: set[str]) -> set[str]:
        """Those whose bytes are not there any more: others may be seen some time."""
        return file_ids - (await locate_many(self._store, file_ids)).keys() if file_ids else file_ids

    # --- what is known --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async with self._reading:
            if time.monotonic() >= self._good_until:
                good_until = time.monotonic() + LISTED_SECS
                self._known = await self._list()
                self._sorted.clear()
                self._good_until = good_until
            if self._new:
                await self._take_in(set(self._new))

    async def _list(self) -> dict[str, Known]:
        uploaded = {_id(item) async for item in list_all(self._store, COLLECTION, _ENTRIES)}
        known: dict[str, Known] = {}
        async for item in list_all(self._store, COLLECTION, _FILES):
            file_id = _id(item)
            known[file_id] = _known(file_id, item, uploaded=file_id in uploaded)
        return known

    async def _take_in(self, new: set[str]) -> None:
        for file_id, file in (await locate_many(self._store, new)).items():
            self._known[file_id] = _known(file_id, file.info, uploaded=file.committed)
        self._new -= new
        self._sorted.clear()

    def _forget(self, file_ids: Iterable[str]) -> None:
        for file_id in file_ids:
            if self._known.pop(file_id, None) is not None:
                self._sorted.clear()

    # --- in order -------------------------------------------------------------------------------------------

    def _after(self, sort: Sort, after: tuple[int, str] | None) -> Iterator[str]:
        """The ids that come after a position."""
        places = self._in_order(sort)
        if sort in ("newest", "largest"):
            end = bisect_left(places, after) if after is not None else len(places)
            return (places[at][1] for at in range(end - 1, -1, -1))
        begin = bisect_right(places, after) if after is not None else 0
        return (places[at][1] for at in range(begin, len(places)))

    def _in_order(self, sort: Sort) -> list[tuple[int, str]]:
        """All, by what is sorted by and by id, the least first. A list is never changed once it is made."""
        by = "created" if sort in ("newest", "oldest") else "size"
        if by not in self._sorted:
            self._sorted[by] = sorted(_position(sort, file) for file in self._known.values())
        return self._sorted[by]

    def _take(self, places: Iterator[str], wanted: Callable[[Known], bool], most: int) -> list[str]:
        some: list[str] = []
        for file_id in places:
            file = self._known.get(file_id)
            if file is not None and wanted(file):
                some.append(file_id)
                if len(some) == most:
                    break
        return some


def _position(sort: Sort, file: Known) -> tuple[int, str]:
    return (file.created if sort in ("newest", "oldest") else file.size), file.file_id


def _known(file_id: str, info: ObjectInfo, *, uploaded: bool) -> Known:
    """To the second: some stores tell no more, and one and the same has to be told each time."""
    created = _microseconds(info.modified.replace(microsecond=0))
    return Known(file_id, created, info.size, uploaded)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _id(item: ObjectInfo) -> str:
    return item.key.partition("/")[2]
