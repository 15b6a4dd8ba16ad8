"""How many bytes of files each project has in the store: uploads, and what its runs have made.

Nothing is read before somebody asks. Files that come and go are heard of; what expires, or was posted and not returned,
is found when the store is listed anew. Whose a file is is looked up once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from messages.base import DEFAULT_PROJECT, Event
from messages.files import FileCommitted, FileDeleted
from messages.runs import RunCompleted
from shared.files import COLLECTION, bytes_key
from shared.objects.base import ObjectStore, list_all
from shared.outages import Outage
from voxloom.errors import Unavailable, VoxloomError
from voxloom.ids import is_id

LISTED_SECS = 600.0
"""How long a listing of the store is good."""
PAUSE_SECS = 2.0
"""Until the store is asked again when it did not answer."""
LOOKED_UP_AT_ONCE = 500
MOST_NEW = 20_000
"""Files of runs heard of, but not looked up; if there are more, the store is listed anew."""
_FILES = bytes_key("")

log = logging.getLogger("voxloom.gateway")


class Stored(NamedTuple):
    project: str
    size: int


class StoredBytes:
    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._files: dict[str, Stored] = {}
        self._sums: Counter[str] = Counter()
        self._new: set[str] = set()
        self._touched: set[str] = set()
        """Files that something was heard of since the last listing began."""
        self._good_until = 0.0
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._counted = asyncio.Event()

    def hear(self, event: Event) -> None:
        if not self._wanted.is_set():
            return
        if isinstance(event, FileCommitted):
            self._touched.add(event.subject)
            self._put(event.subject, Stored(event.project, event.size))
        elif isinstance(event, FileDeleted):
            self._touched.add(event.subject)
            self._drop(event.subject)
        elif isinstance(event, RunCompleted):
            self._new.update(filter(is_id, event.result.outputs))
            self._news.set()
        if len(self._new) > MOST_NEW:
            self._new.clear()
            self._good_until = 0.0

    async def of(self, project: str, *, within: float) -> int:
        """Waits until they are counted. Raises Unavailable where that takes longer than so many seconds."""
        self._wanted.set()
        try:
            async with asyncio.timeout(within):
                await self._counted.wait()
        except TimeoutError:
            raise Unavailable(
                "What the project has stored is still being counted; try again in a moment.", code="answer_timeout"
            ) from None
        return self.known(project)

    async def files_of(self, project: str, *, within: float) -> list[str]:
        """The ids of its files, and of some of which nobody knows yet whose they are. Raises as `of` does."""
        await self.of(project, within=within)
        return [*(file_id for file_id, stored in self._files.items() if stored.project == project), *self._new]

    def known(self, project: str) -> int:
        """What is known here and now."""
        return self._sums[project]

    # --- counting -------------------------------------------------------------------------------------------

    async def keep_counting(self) -> None:
        """Without end, once somebody has asked."""
        outage = Outage(
            log, "what projects have stored cannot be counted", "what projects have stored is counted again"
        )
        await self._wanted.wait()
        while True:
            try:
                await self._count()
            except VoxloomError as error:
                outage.failed(error)
                await asyncio.sleep(PAUSE_SECS)
                continue
            outage.over()
            self._counted.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._good_until - self._clock())):
                    await self._news.wait()

    async def _count(self) -> None:
        self._news.clear()
        if self._clock() >= self._good_until:
            await self._list()
        new = self._new - self._files.keys()
        await self._look_up(new)
        self._new -= new

    async def _list(self) -> None:
        good_until = self._clock() + LISTED_SECS
        self._touched.clear()
        there = {item.key.removeprefix(_FILES) async for item in list_all(self._store, COLLECTION, _FILES)}
        for gone in self._files.keys() - there - self._touched:
            self._drop(gone)
        await self._look_up(there - self._files.keys() - self._touched)
        self._good_until = good_until

    async def _look_up(self, file_ids: Iterable[str]) -> None:
        wanted = list(file_ids)
        for start in range(0, len(wanted), LOOKED_UP_AT_ONCE):
            keys = {bytes_key(one): one for one in wanted[start : start + LOOKED_UP_AT_ONCE]}
            for key, info in (await self._store.head_many(COLLECTION, list(keys))).items():
                if keys[key] not in self._touched:
                    self._put(keys[key], Stored(info.metadata.get("project") or DEFAULT_PROJECT, info.size))

    def _put(self, file_id: str, stored: Stored) -> None:
        self._drop(file_id)
        self._files[file_id] = stored
        self._sums[stored.project] += stored.size

    def _drop(self, file_id: str) -> None:
        if (stored := self._files.pop(file_id, None)) is not None:
            self._sums[stored.project] -= stored.size
