"""Backups of the store's database, for `voxloom doctor --repair`; large objects are not in them, their rows are.

`backups/objects-<seconds>-<checksum>.sqlite` under the store's folder, with the seconds of the expiry clock. Everything
here blocks.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shared.expiry import DAY
from shared.objects.disk.placing import sync_folder

EVERY_SECS = DAY
AT_STOP_SECS = 3600.0
AT_STOP_BYTES = 64 << 20
"""At a stop one is made where the database is no larger, and the last one is older than that."""
KEPT = 2

log = logging.getLogger("voxloom.objects")


@dataclass(frozen=True, slots=True)
class Backup:
    path: Path
    time: float
    checksum: str

    @property
    def is_whole(self) -> bool:
        return _checksum(self.path) == self.checksum


def folder_of(folder: Path) -> Path:
    return folder / "backups"


def all_of(folder: Path) -> list[Backup]:
    """The newest first."""
    found = []
    for path in folder_of(folder).glob("objects-*-*.sqlite"):
        _, seconds, checksum = path.stem.split("-")
        found.append(Backup(path, float(seconds), checksum))
    return sorted(found, key=lambda one: one.time, reverse=True)


def is_due(folder: Path, born: float, now: float, *, after: float = EVERY_SECS) -> bool:
    """`born`: when the store was made, by the same clock."""
    newest = next(iter(all_of(folder)), None)
    return now - (newest.time if newest is not None else born) >= after


def make(folder: Path, database: Path, now: float) -> Backup | None:
    """A backup of this moment; older ones go. None where there is no room for it."""
    place = folder_of(folder)
    place.mkdir(exist_ok=True, mode=0o700)
    part = place / "objects.part"
    part.unlink(missing_ok=True)  # Of a server that was killed. It may be what the room is missing for.
    if shutil.disk_usage(place).free < 2 * database.stat().st_size:
        log.warning("there is no room for a backup of %s", database)
        return None
    try:
        made = _made(database, part, place, now)
    finally:
        part.unlink(missing_ok=True)  # On a full disk it must not stay.
    sync_folder(place)
    for old in all_of(folder)[KEPT:]:
        old.path.unlink()
    return made


def _made(database: Path, part: Path, place: Path, now: float) -> Backup:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(part),))
    _sync(part)
    checksum = _checksum(part)
    made = Backup(place / f"objects-{int(now)}-{checksum}.sqlite", float(int(now)), checksum)
    os.replace(part, made.path)
    return made


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
