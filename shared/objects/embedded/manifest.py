"""What the files of large objects are, beside the database: a line for each that was ever stored, with a checksum.

`objects.manifest` only grows while the store is open; at a start that finds many more lines than files it is written
anew. `voxloom doctor --repair` reads it where the database does not know a file any more.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from shared.objects.embedded.rows import Row

NAME = "objects.manifest"
_SPARE = 1000


class Manifest:
    """Appends, without waiting for the disk. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor = -1
        self._torn = False
        """Whether the last line may lack its end: what comes must not become a part of it."""

    def open(self, rows: Iterable[Row], count: int) -> bool:
        """`rows`: all objects that have a file, `count` of them. Returns whether it was written anew."""
        renew = not count <= _lines(self._path) <= 2 * count + _SPARE
        if renew:
            part = self._path.with_suffix(".part")
            with part.open("wb") as file:
                file.writelines(map(line_of, rows))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._torn = True
        return renew

    def add(self, rows: Iterable[Row]) -> None:
        """Those of the rows that have a file."""
        if lines := b"".join(line_of(row) for row in rows if row.file is not None):
            begin = b"\n" if self._torn else b""
            self._torn = True
            self._torn = os.write(self._descriptor, begin + lines) < len(begin) + len(lines)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def line_of(row: Row) -> bytes:
    body = orjson.dumps({**row._asdict(), "key": row.key.decode(), "body": None, "id": None})
    return b"%08x %b\n" % (zlib.crc32(body), body)


def read(folder: Path) -> Iterator[Row]:
    """The lines that are whole, the oldest first."""
    path = folder / NAME
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            checksum, _, body = line.rstrip(b"\n").partition(b" ")
            if checksum == b"%08x" % zlib.crc32(body):
                values = orjson.loads(body)
                known = {name: values[name] for name in Row._fields if name in values}
                yield Row(**{**known, "key": values["key"].encode()})


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)
