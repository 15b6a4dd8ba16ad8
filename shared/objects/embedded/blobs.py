"""The files that large objects are kept in. Everything here blocks and belongs into a thread.

A file's name is random and ends with the mark of the opening of the store that made it. So a file with another mark
is whole, or was left behind by a crash: nobody is writing it now. That is what the sweep at start goes by.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock

from shared.objects.base import FileUpload
from shared.objects.disk.failures import closed
from shared.objects.disk.placing import READ_ONLY, Replaced, place, sync_folder
from shared.objects.disk.reading import BlobReader
from shared.objects.embedded.rows import Row
from shared.objects.embedded.takeover import bring
from shared.objects.embedded.writeback import Writeback, sync_files
from voxloom.errors import InvalidInput

_PIECES_PER_CALL = 512


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that came in: kept as `file`, or read to `body`."""

    size: int
    file: str | None = None
    body: bytes | None = None


class Blobs:
    """`objects/<2 hex>/<random><mark>` under the store's folder; a file is named by its path from `objects` on. Its
    folder, one of 256 shards, is made with the first file that needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "objects"
        self.mark = secrets.token_hex(4)
        self._shards: set[str] = set()
        self._lock = Lock()

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self._shards = {path.name for path in self.folder.glob("[0-9a-f][0-9a-f]")}
        sync_folder(self.folder)

    @property
    def shards(self) -> list[str]:
        """Those that there are."""
        with self._lock:
            return sorted(self._shards)

    def has_any(self) -> bool:
        return any(os.listdir(self.path(shard)) for shard in self.shards)

    def sizes(self) -> dict[str, int]:
        """Of all files that there are."""
        found: dict[str, int] = {}
        for shard in self.shards:
            with os.scandir(self.path(shard)) as entries:
                found |= {f"{shard}/{entry.name}": entry.stat().st_size for entry in entries}
        return found

    def path(self, file: str) -> Path:
        return self.folder / file

    def new_path(self, file: str) -> Path:
        """The same, for a file that is about to be made: its shard is there."""
        path = self.path(file)
        with self._lock:
            if path.parent.name not in self._shards:
                path.parent.mkdir(exist_ok=True, mode=0o700)
                sync_folder(self.folder)
                self._shards.add(path.parent.name)
        return path

    def new_names(self, count: int) -> list[str]:
        """Names in one folder, so that keeping them all takes one fsync of it."""
        shard = secrets.token_hex(1)
        return [f"{shard}/{secrets.token_hex(12)}{self.mark}" for _ in range(count)]

    def remove(self, files: Iterable[str]) -> None:
        for file in files:
            self.path(file).unlink(missing_ok=True)

    def open(self, file: str) -> BlobReader:
        """Raises Replaced."""
        try:
            return BlobReader(self.path(file))
        except FileNotFoundError:
            raise Replaced from None

    def read(self, file: str) -> bytes:
        """Raises Replaced."""
        try:
            return self.path(file).read_bytes()
        except FileNotFoundError:
            raise Replaced from None

    def check_out(self, file: str, target: Path) -> None:
        """Raises Replaced."""
        place(target, self.path(file))

    def check_out_many(self, wanted: Sequence[tuple[str, Path]]) -> list[bool]:
        """Whether each could be checked out; False where it was replaced meanwhile."""
        return [self._is_checked_out(file, target) for file, target in wanted]

    def take(self, sources: Sequence[FileUpload], inline: int | None) -> list[Taken]:
        """Takes files in, as links where that can be, and sees to it that they stay; all or none. Files of up to
        `inline` bytes are read instead. The sources are left alone: a caller whose rows are refused still has them.
        """
        names = self.new_names(len(sources))
        try:
            taken = [self._take(source, name, inline) for source, name in zip(sources, names, strict=True)]
            files = [str(self.path(found.file)) for found in taken if found.file is not None]
            sync_files(files)
            if files:
                sync_folder(Path(files[0]).parent)
        except BaseException:
            self.remove(names)
            raise
        return taken

    def give_up(self, rows: Iterable[Row]) -> None:
        """Undoes `take`, of whose files the rows were made."""
        self.remove(row.file for row in rows if row.file is not None)

    def _take(self, source: FileUpload, name: str, inline: int | None) -> Taken:
        path = source.path
        try:
            size = _size(path)
            if inline is not None and size <= inline:
                body = path.read_bytes()
                return Taken(len(body), body=body)
            target = self.new_path(name)
            bring(path, target, settled=source.settled)
        except FileNotFoundError:
            raise InvalidInput(f"There is no file {path.name!r} to store; write it first.") from None
        return Taken(target.stat().st_size, file=name)

    def _is_checked_out(self, file: str, target: Path) -> bool:
        try:
            self.check_out(file, target)
        except Replaced:
            return False
        return True


class BlobWriter:
    """A file that grows. `discard` may come at any time, also while another thread writes: it waits for that."""

    def __init__(self, blobs: Blobs) -> None:
        self.name = blobs.new_names(1)[0]
        self._blobs = blobs
        self._path = blobs.path(self.name)
        self._descriptor: int | None = None
        self._writeback: Writeback | None = None
        self._ended = False
        self._lock = Lock()

    def write(self, pieces: Sequence[bytes]) -> None:
        with self._lock:
            descriptor = self._opened()
            self._writeback = self._writeback or Writeback(descriptor)
            self._writeback.grown_by(write_all(descriptor, pieces))

    def finish(self, pieces: Sequence[bytes]) -> os.stat_result:
        """Writes the last pieces. When it returns, the file is there after a crash too."""
        with self._lock:
            descriptor = self._opened()
            write_all(descriptor, pieces)
            os.fchmod(descriptor, READ_ONLY)
            os.fsync(descriptor)
            made = os.fstat(descriptor)
            self._close()
            sync_folder(self._path.parent)
            return made

    def discard(self) -> None:
        with self._lock:
            self._close()
            self._path.unlink(missing_ok=True)

    def _opened(self) -> int:
        if self._ended:
            raise closed()
        if self._descriptor is None:
            path = self._blobs.new_path(self.name)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return self._descriptor

    def _close(self) -> None:
        self._ended = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_all(descriptor: int, pieces: Sequence[bytes]) -> int:
    """Writes all of the pieces, without joining them. Returns how many bytes that was."""
    rest = deque(memoryview(piece) for piece in pieces if piece)
    total = 0
    while rest:
        done = os.writev(descriptor, list(islice(rest, _PIECES_PER_CALL)))
        total += done
        while rest and done >= len(rest[0]):
            done -= len(rest.popleft())
        if done:
            rest[0] = rest[0][done:]
    return total


def _size(source: Path) -> int:
    """Of a regular file; a link could lead anywhere, and its target might be nothing of the caller's."""
    found = os.lstat(source)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{source.name!r} is no regular file; write the bytes to a file of their own.")
    return found.st_size
