"""The data folder of one machine: what `voxloom doctor` sees in it, and what it can mend there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from pathlib import Path

from shared.bus.embedded import database
from shared.bus.embedded import folder as bus_folder
from shared.bus.embedded import repair as bus_repair
from shared.expiry import APART_SECS
from shared.objects.embedded import backup, kept
from shared.objects.embedded import folder as store_folder
from shared.objects.embedded import repair as store_repair
from shared.objects.embedded.quarantine import KEEP_SECS, Quarantine
from shared.sealed import inspection
from shared.sealed.inspection import Damaged
from shared.settings import Settings
from voxloom.errors import Misconfigured

Line = tuple[str, str, str | None]
"""What was looked at, what was seen, and, where that is a problem, what to do."""

Locked = Callable[[Path], AbstractContextManager[None]]
"""Has a folder while it is looked at. Raises Misconfigured while a server has it."""


def look(settings: Settings) -> Iterator[Line]:
    """Of what is embedded, as far as it is there."""
    if not settings.broker and (folder := settings.data / "bus").is_dir():
        yield from _database("journal of the bus", folder / database.FILE, bus_folder.locked)
    if not settings.store and (folder := settings.data / "objects").is_dir():
        yield from _database("index of the objects", folder / store_folder.DATABASE, store_folder.locked)
        yield from _quarantine(folder)
        yield from _backups(folder)
        yield from _clock(folder)


def repair(settings: Settings) -> Iterator[Line]:
    """Raises Misconfigured while a server uses the folder."""
    if not settings.broker:
        yield from _told("bus", bus_repair.repair(settings.data / "bus"))
    if not settings.store:
        yield from _told("object store", store_repair.repair(settings.data / "objects"))


def _told(what: str, done: list[str]) -> Iterator[Line]:
    yield what, " ".join(done) or "nothing is damaged; nothing was changed", None


def _is_free(folder: Path, locked: Locked) -> bool:
    try:
        with locked(folder):
            return True
    except Misconfigured:
        return False


def _database(what: str, database: Path, locked: Locked) -> Iterator[Line]:
    if not _is_free(database.parent, locked):
        yield what, f"{database} is in use", None
        return
    try:
        inspection.inspect(database)
    except Damaged as error:
        yield what, "damaged", error.message
        return
    except OSError as error:
        yield what, f"{database}: {error.strerror}", "Give it to your user."
        return
    yield what, f"{database} agrees with its checksums", None


def _quarantine(folder: Path) -> Iterator[Line]:
    found = list(Quarantine(folder).files())
    if not found:
        return
    size = sum(one.path.stat().st_size for one in found) / 2**20
    until = datetime.fromtimestamp(min(one.since for one in found) + KEEP_SECS, UTC)
    yield (
        "quarantine",
        f"{len(found)} files that no object consists of, {size:.1f} MiB, lie in {Quarantine(folder).folder}; the first "
        f"go after {until:%Y-%m-%d %H:%M} UTC by the clock of expiry",
        None,
    )


def _backups(folder: Path) -> Iterator[Line]:
    newest = next(iter(backup.all_of(folder)), None)
    seen = "none yet" if newest is None else f"{newest.path}, of {_utc(newest.time)}"
    yield "backup of the index", seen, None


def _clock(folder: Path) -> Iterator[Line]:
    shown, wall = _kept_clock(folder), time.time()
    if shown is None:
        return
    if abs(shown - wall) < APART_SECS:
        yield "clock of expiry", "agrees with the machine's", None
        return
    yield (
        "clock of expiry",
        f"shows {_utc(shown)}, the machine's {_utc(wall)}",
        "See whether the machine's clock is right. Where it is, nothing is lost: things expire later, and each start "
        "of the server moves the clock of expiry on by a day at most",
    )


def _kept_clock(folder: Path) -> float | None:
    """None where it cannot be known without touching what a crash has left."""
    database = folder / store_folder.DATABASE
    free = _is_free(folder, store_folder.locked)
    if not database.exists() or (free and inspection.log_of(database).exists()):
        return None
    how = "immutable=1" if free else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?{how}", uri=True)) as connection:
            return kept.number(kept.read(connection, kept.EXPIRY_CLOCK))
    except sqlite3.Error:
        return None


def _utc(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
