"""Local files that are to become objects. Everything here blocks and belongs into a thread."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.objects.base import FileUpload
from shared.objects.cloud.parts import size_for
from shared.objects.disk.threads import Pool
from voxloom.errors import InvalidInput


def sizes_of(files: Sequence[FileUpload]) -> list[int]:
    """Raises InvalidInput unless all of them are regular files."""
    return [_size(file.path) for file in files]


async def parts_of(pool: Pool, path: Path, size: int) -> AsyncIterator[io.BytesIO]:
    """The file's bytes in the parts that they are sent in."""
    part = size_for(size)
    for start in range(0, size, part):
        yield io.BytesIO(await pool.run(read, path, start, min(start + part, size)))


def read(path: Path, start: int, stop: int) -> bytes:
    with _missing_is_told(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(descriptor, "rb", buffering=0) as file:
        data = os.pread(file.fileno(), stop - start, start)
    if len(data) < stop - start:
        raise InvalidInput(f"The file {path.name!r} has become shorter while it was stored; leave it alone meanwhile.")
    return data


def remove(files: Sequence[FileUpload]) -> None:
    for file in files:
        file.path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    with _missing_is_told(path):
        found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path.name!r} is no regular file; write the bytes to a file of their own.")
    return found.st_size


@contextmanager
def _missing_is_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path.name!r} to store; write it first.") from None
