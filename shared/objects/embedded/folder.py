"""The store's folder: made, claimed for one process, and left tidy.

objects.sqlite   small objects, and what is known of all; objects.sqlite.seal has its checksums
objects/         the files of large ones
objects.manifest what those files are, for a repair; backups/ has the database of earlier days
quarantine/      files that no object seems to consist of, before they go
tmp/             for workers to write files in that then become objects; emptied at start
signing.key      what URLs are signed with
lock             held while a process has the store open
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shared.expiry import ExpiryClock, begun_at
from shared.objects.disk.placing import sync_folder
from shared.objects.embedded import kept, table
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.manifest import Manifest
from shared.objects.embedded.quarantine import Quarantine
from shared.sealed.guard import Guard
from shared.sealed.inspection import damaged
from shared.sealed.lock import held, lock
from voxloom.errors import Misconfigured

DATABASE = "objects.sqlite"
SCRATCH = "tmp"
KEY = "signing.key"
_LEFT = "left-"
_KEY_BYTES = 32

log = logging.getLogger("voxloom.objects")


@dataclass(frozen=True)
class Claim:
    """What a process has that owns the folder."""

    lock: int
    connection: sqlite3.Connection
    guard: Guard
    secret: bytes
    expiry: ExpiryClock
    manifest: Manifest
    born: float
    """When the store was made, or first opened by a version that asks; by the clock of expiry."""

    def release(self) -> None:
        self.manifest.close()
        os.close(self.lock)


@dataclass(frozen=True)
class Clocks:
    """Seconds since 1970, and of a clock that only runs on."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def claim(folder: Path, blobs: Blobs, clocks: Clocks) -> Claim:
    """Makes the folder ready. Raises Misconfigured, with a sentence for whoever starts the server."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = lock(folder, _in_use)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        blobs.prepare()
        made = _claimed(folder, blobs, clocks, descriptor)
        _renew_scratch(folder, blobs.mark)
        return made
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError | sqlite3.Error):
            raise _unusable(folder, error) from error
        raise


def _claimed(folder: Path, blobs: Blobs, clocks: Clocks, descriptor: int) -> Claim:
    guard = Guard(folder / DATABASE)
    guard.inspect(is_used=blobs.has_any() or (folder / KEY).exists())
    connection = table.connect(folder / DATABASE)
    try:
        guard.check(connection)
        table.prepare(connection)
        secret = _secret(folder, connection)
        expiry = _expiry_clock(connection, clocks)
        born = _born(connection, expiry.now())
        guard.begin(connection)
        Quarantine(folder).give_back(blobs, partial(table.files_kept, connection))
        with closing(table.files(connection)) as wanted:
            check_files(blobs, wanted)
    except BaseException:
        guard.close(connection)
        raise
    guard.watch.keep(blobs.folder)
    return Claim(descriptor, connection, guard, secret, expiry, _manifest(folder, connection), born)


def _manifest(folder: Path, connection: sqlite3.Connection) -> Manifest:
    made = Manifest(folder)
    (count,) = connection.execute("SELECT count(*) FROM objects WHERE file IS NOT NULL").fetchone()
    made.open(table.with_files(connection), count)
    return made


def check_files(blobs: Blobs, wanted: Iterable[tuple[str, int]]) -> None:
    """Whether the files of objects, with their sizes, are there. Raises Damaged for the first that is not."""
    there = blobs.sizes()
    for file, size in wanted:
        if there.get(file) != size:
            raise damaged(str(blobs.path(file)), "is missing" if file not in there else "has another size than it had")


def clear_left(folder: Path) -> None:
    """Removes what earlier openings left in `tmp`."""
    for path in folder.glob(f"{_LEFT}*"):
        shutil.rmtree(path)


def locked(folder: Path) -> AbstractContextManager[None]:
    """Claims the folder for a while, without opening anything in it. Raises Misconfigured while somebody has it."""
    return held(folder, _in_use)


def _renew_scratch(folder: Path, mark: str) -> None:
    """An empty `tmp`; what was in it is out of everybody's way at once and removed later."""
    scratch = folder / SCRATCH
    if scratch.exists():
        scratch.rename(folder / f"{_LEFT}{mark}")
    scratch.mkdir(mode=0o700)


def _expiry_clock(connection: sqlite3.Connection, clocks: Clocks) -> ExpiryClock:
    """Begun, and kept: this is also the first that is written after a start."""
    known = kept.number(kept.read(connection, kept.EXPIRY_CLOCK))
    newest = table.newest(connection)
    start = begun_at(known, None if newest is None else newest / 1e6, clocks.wall())
    kept.write(connection, kept.EXPIRY_CLOCK, kept.as_value(start))
    return ExpiryClock(start, clocks.monotonic)


def _born(connection: sqlite3.Connection, now: float) -> float:
    known = kept.number(kept.read(connection, kept.BORN))
    if known is None:
        kept.write(connection, kept.BORN, kept.as_value(now))
    return now if known is None else known


def _secret(folder: Path, connection: sqlite3.Connection) -> bytes:
    """The database has a copy, which it knows to be right."""
    path = folder / KEY
    copy = kept.read(connection, kept.SIGNING_KEY)
    found = path.read_bytes() if path.exists() else None
    if copy is not None and found != copy:
        log.warning("%s was missing or damaged, and was restored from its copy in %s", path, DATABASE)
        _write_secret(path, copy)
        return copy
    if found is not None and len(found) != _KEY_BYTES:
        raise damaged(str(path), f"has {len(found)} bytes in place of {_KEY_BYTES}")
    secret = found or secrets.token_bytes(_KEY_BYTES)
    if copy is None:
        kept.write(connection, kept.SIGNING_KEY, secret)
    if found is None:
        _write_secret(path, secret)
    return secret


def _write_secret(path: Path, secret: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)


def _in_use(folder: Path) -> Misconfigured:
    return Misconfigured(
        f"Another process has the object store in {folder} open; stop it, or set `data` to another folder."
    )


def _unusable(folder: Path, error: OSError | sqlite3.Error) -> Misconfigured:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return Misconfigured(
        f"The object store cannot use the folder {folder} ({reason}); make it writable for this user, or set `data` "
        "to another folder."
    )
