"""Makes a store that does not start usable again, with all that can be had. It deletes nothing: the damaged files, and
large objects that nothing names, stay in folders of their own. Everything here blocks."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from shared.objects.embedded import backup, manifest, table
from shared.objects.embedded.blobs import Blobs
from shared.objects.embedded.folder import DATABASE, locked
from shared.objects.embedded.quarantine import Quarantine
from shared.objects.embedded.rows import Address, Row
from shared.sealed import inspection, mending, salvage
from shared.sealed.inspection import Damaged

_SHOWN = 5


def repair(folder: Path) -> list[str]:
    """What was done, in sentences; nothing where nothing is damaged. Raises Misconfigured while a server runs."""
    if not folder.is_dir():
        return []
    with locked(folder):
        blobs = Blobs(folder)
        blobs.prepare()
        database = folder / DATABASE
        told = [f"One bit of {what} had flipped and was turned back." for what in mending.mend(database)]
        if _is_damaged(database, blobs, folder):
            told += _rebuilt(folder, database, blobs)
        return told


def _is_damaged(database: Path, blobs: Blobs, folder: Path) -> bool:
    try:
        verdict = inspection.inspect(database)
    except Damaged:
        return True
    if verdict.is_new:
        return blobs.has_any()
    aside = folder / "repair.check"
    try:
        copy = salvage.copy(database, aside)
        assert copy is not None
        with closing(sqlite3.connect(copy)) as connection:
            sizes = blobs.sizes()
            return not salvage.is_sound(connection) or any(sizes.get(file) != size for file, size in _files(connection))
    finally:
        _remove(aside)


def _files(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    with closing(table.files(connection)) as found:
        return list(found)


def _rebuilt(folder: Path, database: Path, blobs: Blobs) -> list[str]:
    aside = folder / f"repair-{time.time_ns()}"
    new = folder / "objects.new"
    new.unlink(missing_ok=True)
    copy = salvage.copy(database, aside / "copy")
    sources = _Sources(folder, blobs, copy)
    try:
        with closing(table.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            table.prepare(connection, mode="DELETE")
            _copy_settings(connection, sources)
            table.insert(connection, sources.rows.values())
    finally:
        sources.close()
    salvage.replace(database, new, aside)
    _remove(aside / "copy")
    return sources.told(aside)


def _copy_settings(connection: sqlite3.Connection, sources: _Sources) -> None:
    for name in ("expiry", "kept"):
        for row in sources.settings(name):
            connection.execute(f"INSERT OR REPLACE INTO {name} VALUES (?, ?)", row)  # noqa: S608 - our own names


class _Sources:
    """The rows that are to be had, each proven as far as it can be: bodies by their etags, files by their sizes."""

    def __init__(self, folder: Path, blobs: Blobs, copy: Path | None) -> None:
        self._aside = {one.file: one for one in Quarantine(folder).files()}
        self._blobs = blobs
        self._sizes = {file: one.path.stat().st_size for file, one in self._aside.items()} | blobs.sizes()
        self._current = sqlite3.connect(copy) if copy is not None else None
        self._backup = next((one for one in backup.all_of(folder) if one.is_whole), None)
        self._old = sqlite3.connect(self._backup.path) if self._backup is not None else None
        self.lost: dict[Address, str] = {}
        self.brought: list[Address] = []
        self.rows: dict[Address, Row] = {}
        self._until = 0
        sound = self._current is not None and salvage.is_sound(self._current)
        self._collect(folder, sound)

    def _collect(self, folder: Path, sound: bool) -> None:
        for row in self._all(self._current):
            self._take(row)
        if self._old is not None and (not sound or self.lost):
            wanted = None if not sound else set(self.lost)
            self._add(row for row in self._all(self._old) if wanted is None or row.address in wanted)
        self._until = max((row.modified for row in self.rows.values()), default=0)
        newest = {row.address: row for row in manifest.read(folder)}
        self._add(row for row in newest.values() if row.file in self._sizes)
        for address in self.rows:
            self.lost.pop(address, None)

    def _add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            known = self.rows.get(row.address)
            if known is None or (known.modified < row.modified and row.file != known.file):
                self._take(row)
                self.brought += [row.address] if self.rows.get(row.address) is row else []

    def _take(self, row: Row) -> None:
        if row.body is not None:
            good = len(row.body) == row.size and hashlib.sha256(row.body).hexdigest()[:32] == row.etag
        else:
            good = row.file is not None and self._sizes.get(row.file) == row.size
        if good:
            self.rows[row.address] = row
            if row.file in self._aside:
                os.replace(self._aside.pop(row.file).path, self._blobs.new_path(row.file))
        elif row.address not in self.rows:
            self.lost[row.address] = row.file or "its bytes"

    def _all(self, connection: sqlite3.Connection | None) -> Iterator[Row]:
        if connection is None:
            return
        try:
            columns = table.columns_in(connection)
        except sqlite3.DatabaseError:
            columns = table.COLUMNS
        for values in salvage.rows(connection, "objects", columns, "id"):
            yield Row(**dict(zip(columns, values, strict=True)))  # type: ignore[arg-type]

    def settings(self, name: str) -> list[tuple[object, ...]]:
        for connection in (self._current, self._old):
            if connection is not None:
                try:
                    return connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - our own names
                except sqlite3.DatabaseError:
                    continue
        return []

    def close(self) -> None:
        for connection in (self._current, self._old):
            if connection is not None:
                connection.close()

    def told(self, aside: Path) -> list[str]:
        said = [f"The object store was rebuilt with {len(self.rows)} objects; the old files are in {aside}."]
        if self.brought:
            of = f"the backup of {_utc(self._backup.time)} or from " if self._backup is not None else ""
            said.append(f"{len(self.brought)} of them came from {of}the manifest.")
        newest = f"stored after {_utc(self._until / 1e6)}" if self._until else "that were in it"
        said.append(f"Small objects {newest} are lost.")
        if self.lost:
            names = ", ".join(f"{collection}/{key.decode()}" for collection, key in list(self.lost)[:_SHOWN])
            more = f" and {len(self.lost) - _SHOWN} more" if len(self.lost) > _SHOWN else ""
            said.append(f"{len(self.lost)} objects are lost: {names}{more}.")
        return said


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def _remove(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink()
    if folder.is_dir():
        folder.rmdir()
