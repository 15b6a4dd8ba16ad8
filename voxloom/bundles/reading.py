"""Out of a bundle: one algorithm's zip after the other, nothing believed before it was checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from voxloom.bundles.contents import Packed, describe
from voxloom.bundles.keys import Keys, Protection
from voxloom.bundles.sealing import SealedReader, read_opening, refuse
from voxloom.errors import InvalidInput
from voxloom.unpack import LARGEST

ALGORITHM = b"\x01"
"""The only kind of thing in a bundle so far."""
SIZE_BYTES = 8
MOST_ALGORITHMS = 1000
_COPY = 1 << 20


@dataclass(frozen=True)
class Item:
    """One algorithm of a bundle, its zip at `archive`; or `fault`: why it cannot be used, where the others may."""

    number: int
    archive: Path
    packed: Packed | None = None
    fault: InvalidInput | None = None


class Bundle:
    """Everything here blocks."""

    def __init__(self, source: IO[bytes], keys: Keys) -> None:
        self._reader = SealedReader(source, keys)

    def check(self) -> int:
        """Reads all of it, and says how many algorithms there are. Raises InvalidInput for whatever is wrong."""
        self._reader.rewind()
        count = 0
        while (size := self._begin(count)) is not None:
            self._take(size, None)
            count += 1
        self._reader.rewind()
        return count

    def items(self, folder: Path, *, limit: int = LARGEST) -> Iterator[Item]:
        """One after the other; its zip lies in `folder` until the next. Larger ones than `limit` are passed over."""
        self._reader.rewind()
        number = 0
        while (item := self._item(number, folder, limit)) is not None:
            yield item
            item.archive.unlink(missing_ok=True)
            number += 1

    def _item(self, number: int, folder: Path, limit: int) -> Item | None:
        size = self._begin(number)
        if size is None:
            return None
        archive = folder / f"{number}.zip"
        if size > limit:
            self._take(size, None)
            return Item(number, archive, fault=_too_large(size, limit))
        with archive.open("wb") as file:
            self._take(size, file)
        try:
            packed = describe(archive, limit=limit)
        except InvalidInput as error:
            return Item(number, archive, fault=error)
        return Item(number, archive, packed)

    def _begin(self, count: int) -> int | None:
        kind = self._reader.read(1)
        if not kind:
            if not count:
                refuse("nothing is in it")
            return None
        if kind != ALGORITHM:
            refuse("it holds what this Voxloom does not know; install a newer one")
        if count == MOST_ALGORITHMS:
            refuse(f"it holds more than {MOST_ALGORITHMS} algorithms")
        return int.from_bytes(self._exactly(SIZE_BYTES), "big")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._reader.read(size - len(data))
            if not piece:
                refuse("its last algorithm has no end")
            data += piece
        return data

    def _take(self, size: int, target: IO[bytes] | None) -> None:
        while size:
            piece = self._exactly(min(size, _COPY))
            size -= len(piece)
            if target is not None:
                target.write(piece)


def _too_large(size: int, limit: int) -> InvalidInput:
    return InvalidInput(f"The algorithm's zip has {size} bytes, and {limit} is the most here.", code="too_large")


@contextmanager
def open_bundle(path: Path, keys: Keys) -> Iterator[Bundle]:
    """Raises InvalidInput (`invalid_bundle`, `bundle_key_needed`, `bundle_key_wrong`), OSError."""
    with path.open("rb") as source:
        yield Bundle(source, keys)


def protection_of(path: Path) -> Protection:
    """What everybody can see of a bundle. Raises InvalidInput (`invalid_bundle`)."""
    with path.open("rb") as source:
        return read_opening(source)[0]
