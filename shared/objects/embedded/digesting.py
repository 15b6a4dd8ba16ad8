"""Digests of files that came without one, and whether files still have theirs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, get_native_id
from typing import NamedTuple

from shared.newest import Newest
from shared.objects.disk.placing import place
from shared.objects.disk.threads import Pool
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.changes import Digested
from shared.objects.embedded.rows import Address, Row, etag_of
from shared.objects.hashing import GivenUp, digest_at
from shared.objects.refusals import damaged
from voxloom.errors import Damaged, StoreUnavailable

QUIET_SECS = 1.0
"""Files wait so long for their digests: a run whose output they are has ended by then, most often."""
LOOK_BACK_SECS = 86_400.0
"""How old files may be that are given a digest after a start. Nobody knows what has become of older ones meanwhile."""
TRUSTED_SECS = 86_400.0
RETRY_SECS = 60.0
"""Until the files whose digests could not be noted are looked for."""
REMEMBERED = 65_536
MOST_WAITING = 65_536
_FILES_AT_ONCE, _BYTES_AT_ONCE = 64, 1 << 28
_NICEST = 19

log = logging.getLogger("voxloom.objects")

Mark = tuple[int, int, int]
"""Of a file that nobody has written to since: inode, size, time of the last write."""


class Checks:
    """Which files this process has written or checked itself, and found as they were when it looks again."""

    def __init__(self) -> None:
        self._known: Newest[str, tuple[Mark, float]] = Newest(REMEMBERED)
        self._lock = Lock()

    def note(self, file: str, stat: os.stat_result) -> None:
        with self._lock:
            self._known[file] = (_mark(stat), time.monotonic() + TRUSTED_SECS)

    def check(self, row: Row, path: Path) -> None:
        """Blocks. `path` is a link to the row's file, or a copy. Raises Damaged where its digest is another."""
        if row.file is None or row.digest is None:
            return
        stat = path.stat()
        if self._knows(row.file, stat):
            return
        if digest_at(path) != row.digest:
            raise _told(row)
        self.note(row.file, stat)

    def check_all(self, placed: Sequence[tuple[Row, Path]]) -> None:
        """Blocks. Raises Damaged; then none of the files is any more where it was placed."""
        try:
            for row, path in placed:
                self.check(row, path)
        except Damaged:
            for _, path in placed:
                path.unlink(missing_ok=True)
            raise

    def _knows(self, file: str, stat: os.stat_result) -> bool:
        with self._lock:
            mark, until = self._known.get(file, (None, 0.0))
        return mark == _mark(stat) and time.monotonic() < until


class _Waiting(NamedTuple):
    address: Address
    file: str
    size: int


class Late:
    """Hashes files when the machine has nothing else to do. What is not done when the store closes is done after its
    next start."""

    def __init__(
        self,
        blobs: Blobs,
        checks: Checks,
        write: Callable[[Sequence[Digested]], Awaitable[object]],
        look: Callable[[int], Awaitable[Sequence[Row]]],
    ) -> None:
        """`look` finds so many files that have no digest."""
        self._blobs = blobs
        self._checks = checks
        self._write = write
        self._look = look
        self._pool = Pool("objects.hash", 1)
        self._waiting: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._closing = Event()
        self._missed = True

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.file is not None and row.digest is None:
                self._add(_Waiting(row.address, row.file, row.size))
        if self._waiting:
            self._news.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if not self._missed else QUIET_SECS):
                    await self._news.wait()
            self._news.clear()
            await asyncio.sleep(QUIET_SECS)
            await self._work()

    async def close(self) -> None:
        self._closing.set()
        await self._pool.close()

    def _add(self, one: _Waiting) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(one)
        else:
            self._missed = True

    async def _work(self) -> None:
        try:
            if self._missed and not self._waiting:
                self._missed = False
                self.add(await self._look(MOST_WAITING))
            while self._waiting:
                found = await self._pool.run(self._hash, self._some())
                if found:
                    await self._write(found)
        except StoreUnavailable as error:
            log.warning("the object store could not note the digests of some files; it tries again: %s", error)
            self._missed = True
            await asyncio.sleep(RETRY_SECS)

    def _some(self) -> list[_Waiting]:
        some: list[_Waiting] = []
        room = _BYTES_AT_ONCE
        while self._waiting and len(some) < _FILES_AT_ONCE and room > 0:
            some.append(self._waiting.popleft())
            room -= some[-1].size
        return some

    def _hash(self, some: Sequence[_Waiting]) -> list[Digested]:
        _be_nice()
        found = []
        for one in some:
            try:
                path = self._blobs.path(one.file)
                stat = path.stat()
                found.append(Digested(one.address, one.file, digest_at(path, self._closing.is_set)))
                self._checks.note(one.file, stat)
            except (FileNotFoundError, GivenUp):  # It is deleted or replaced; or the store closes.
                continue
            except OSError as error:  # The others can be read all the same.
                log.warning("the file %s of an object cannot be read: %s", one.file, error)
        return found


def place_body(target: Path, row: Row) -> None:
    """Blocks. Puts the bytes that the row has at `target`. Raises Damaged."""
    body = row.body or b""
    if etag_of(body) != row.etag:
        raise _told(row)
    place(target, body)


def _told(row: Row) -> Damaged:
    error = damaged(row.collection, row.key.decode())
    log.error("%s", error.message)
    return error


def _mark(stat: os.stat_result) -> Mark:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _be_nice() -> None:
    """This thread alone works only when no other wants to, where the system knows such a thing."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICEST)
