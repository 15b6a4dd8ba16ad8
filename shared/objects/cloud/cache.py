"""Downloaded objects that all processes of a node share: each is fetched once, and linked to where it is wanted.

cache/<boot>/<name>         an object's bytes; names are hashes of what the bytes are of
cache/<boot>/<name>.part    one that is being fetched, locked by whoever fetches it
cache/<boot>/in-use         locked by every process that has the cache open

After a crash of the system nobody knows which bytes have reached the disk. So a cache is good for one boot, and those
of earlier ones are removed. Within a boot a file under its own name is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from shared.objects.disk.placing import READ_ONLY, Replaced
from shared.objects.disk.threads import Pool
from voxloom.backoff import Backoff
from voxloom.errors import StoreUnavailable

STALLED_SECS = 120.0
"""How long another process may fetch an object without a byte more."""

_PART = ".part"
_IN_USE = "in-use"
_LOOK_EVERY = (0.02, 0.5)
_TRIM_PORTION = 32
"""A process looks for what is too much once it has added such a portion of the limit."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


Write = Callable[[bytes, int], None]
"""Blocks. Puts bytes where they belong in a file that is being fetched."""
Fetch = Callable[[Write], Awaitable[None]]
Check = Callable[[Path], Awaitable[None]]
"""Looks at a file that is here whole; others do not know of it yet."""
Use = Callable[[Path], None]
"""Blocks. Links or copies a file to where it is wanted; raises Replaced if it is gone."""


class Part:
    """A file that is being fetched, and the lock on it. Everything blocks, and does nothing once it is kept or given
    up: a thread that comes late must not touch a descriptor that is another file's by then."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._alone = Lock()

    def write(self, data: bytes, at: int) -> None:
        with self._alone:
            if self._descriptor is not None:
                _write(self._descriptor, data, at)

    @property
    def path(self) -> Path:
        return self._path

    def keep(self, use: Use) -> int:
        """Bytes that the cache has more. It is used before others know of it, so that nobody evicts it first."""
        with self._alone:
            if self._descriptor is None:
                return 0
            os.fchmod(self._descriptor, READ_ONLY)
            size = os.fstat(self._descriptor).st_size
            try:
                use(self._path)
            finally:
                self._path.rename(self._path.with_suffix(""))
                self._release()
            return size

    def give_up(self) -> None:
        with self._alone:
            if self._descriptor is not None:
                self._path.unlink(missing_ok=True)
                self._release()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class NodeCache:
    def __init__(self, folder: Path, limit: int, pool: Pool) -> None:
        self._root = folder
        self._folder = folder / _boot()
        self._limit = limit
        self._pool = pool
        self._added = 0
        self._lock: int | None = None
        self._wanted: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def open(self) -> None:
        """Blocks. Removes what is of earlier boots, and what is too much."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._folder / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        for other in self._root.iterdir():
            if other != self._folder and not _is_locked(other / _IN_USE):
                shutil.rmtree(other, ignore_errors=True)
        self.trim()

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def find(self, name: str) -> Path | None:
        """Blocks. What is found counts as used just now."""
        path = self._folder / name
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except FileNotFoundError:
            return None
        return path

    async def obtain(self, name: str, fetch: Fetch, use: Use, check: Check | None = None) -> None:
        """Uses the file, after `fetch` has written it if nobody else has, and `check` has not raised."""
        async with self._wanted.setdefault(name, asyncio.Lock()):
            while not await self._pool.run(self._is_used, name, use):
                part = await self._pool.obtain(_give_up, self._claim, name)
                if part is not None:
                    await self._fetch(part, fetch, use, check)
                    return
                await self._until_free(name)

    def trim(self, free: int = 0) -> None:
        """Blocks. Removes the least recently used files beyond the limit, and further ones until `free` bytes of the
        disk are; and parts that nobody fetches."""
        found = _files(self._folder)
        for path in found:
            if path.suffix == _PART:
                _remove_part(path)
        total = sum(stat.st_size for stat in found.values())
        limit = min(self._limit, total - free + _free_of(self._folder)) if free else self._limit
        for path, stat in sorted(found.items(), key=lambda one: one[1].st_atime_ns):
            if total <= limit:
                break
            if path.suffix != _PART:
                path.unlink(missing_ok=True)
                total -= stat.st_size

    def _is_used(self, name: str, use: Use) -> bool:
        path = self.find(name)
        if path is None:
            return False
        try:
            use(path)
        except Replaced:  # Evicted this very moment.
            return False
        return True

    async def _fetch(self, part: Part, fetch: Fetch, use: Use, check: Check | None) -> None:
        try:
            await fetch(part.write)
            if check is not None:
                await check(part.path)
            self._added += await self._pool.run(part.keep, use)
        except BaseException:
            self._pool.later(part.give_up)
            raise
        if self._added > self._limit // _TRIM_PORTION:
            self._added = 0
            self._pool.later(self.trim)

    def _claim(self, name: str) -> Part | None:
        """None: somebody else fetches it, or has just done so."""
        path = self._folder / f"{name}{_PART}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if not _is_taken(path, descriptor):
            os.close(descriptor)
            return None
        part = Part(path, descriptor)
        if path.with_suffix("").exists():
            part.give_up()
            return None
        os.ftruncate(descriptor, 0)  # It may be what a process that died had of it.
        return part

    async def _until_free(self, name: str) -> None:
        """Waits while another process fetches it and gets on with it."""
        part, looks = self._folder / f"{name}{_PART}", Backoff(*_LOOK_EVERY)
        seen, since = await self._pool.run(_progress, part), time.monotonic()
        while await self._pool.run(_is_locked, part):
            await asyncio.sleep(looks.next())
            if (now := await self._pool.run(_progress, part)) != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > STALLED_SECS:
                raise StoreUnavailable(
                    f"Another process of this machine has been fetching the object for {STALLED_SECS:g} s without a "
                    "byte more; try again."
                )


def _boot() -> str:
    """Names this run of the system; where there is no telling, the cache is as durable as its disk."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "any"


def _free_of(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_taken(path: Path, descriptor: int) -> bool:
    """Whether the lock on the file is ours now, and the file still has its name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_at(path, descriptor)


def _remove_part(path: Path) -> None:
    """Unless somebody fetches it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        if _is_taken(path, descriptor):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> dict[Path, os.stat_result]:
    """All but the lock; others add and remove some at the same time."""
    found = {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat()
    return {path: stat for path, stat in found.items() if path.name != _IN_USE}


def _write(descriptor: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(descriptor, rest, at)
        rest, at = rest[done:], at + done


def _progress(part: Path) -> int:
    try:
        return part.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _give_up(part: Part | None) -> None:
    if part is not None:
        part.give_up()
