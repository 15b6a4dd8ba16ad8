"""The store's folder: made, claimed for one process, and left tidy.

objects.sqlite   small objects, and what is known of all
objects/         the files of large ones
tmp/             for workers to write files in that then become objects; emptied at start
signing.key      what URLs are signed with
lock             held while a process has the store open
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from shared.objects.embedded import table
from shared.objects.embedded.blobs import Blobs, sync_folder
from voxloom.errors import Misconfigured

DATABASE = "objects.sqlite"
SCRATCH = "tmp"
_LEFT = "left-"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Claim:
    """What a process has that owns the folder."""

    lock: int
    connection: sqlite3.Connection
    secret: bytes

    def release(self) -> None:
        os.close(self.lock)


def claim(folder: Path, blobs: Blobs) -> Claim:
    """Makes the folder ready. Raises Misconfigured, with a sentence for whoever starts the server."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(folder)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        blobs.prepare()
        _renew_scratch(folder, blobs.mark)
        return Claim(lock, _database(folder), _secret(folder))
    except BaseException as error:
        os.close(lock)
        if isinstance(error, OSError | sqlite3.Error):
            raise _unusable(folder, error) from error
        raise


def clear_left(folder: Path) -> None:
    """Removes what earlier openings left in `tmp`."""
    for path in folder.glob(f"{_LEFT}*"):
        shutil.rmtree(path)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Misconfigured(
            f"Another process has the object store in {folder} open; stop it, or set `data` to another folder."
        ) from None
    return descriptor


def _renew_scratch(folder: Path, mark: str) -> None:
    """An empty `tmp`; what was in it is out of everybody's way at once and removed later."""
    scratch = folder / SCRATCH
    if scratch.exists():
        scratch.rename(folder / f"{_LEFT}{mark}")
    scratch.mkdir(mode=0o700)


def _database(folder: Path) -> sqlite3.Connection:
    connection = table.connect(folder / DATABASE)
    try:
        table.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _secret(folder: Path) -> bytes:
    path = folder / "signing.key"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return _new_secret(path)


def _new_secret(path: Path) -> bytes:
    secret = secrets.token_bytes(_KEY_BYTES)
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)
    return secret


def _unusable(folder: Path, error: OSError | sqlite3.Error) -> Misconfigured:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return Misconfigured(
        f"The object store cannot use the folder {folder} ({reason}); make it writable for this user, or set `data` "
        "to another folder."
    )
