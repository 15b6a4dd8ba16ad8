"""Whether anything in the folder of an algorithm's modules has been changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

CACHE = "__pycache__"
"""Of Python's and numba's making: what is in there says nothing new."""

Files = dict[str, tuple[int, ...]]


def files_in(folder: Path) -> Files:
    """What is below `folder`, by names: kind, rights and inode of each, and a file's size and time."""
    return dict(_files_in(str(folder), ""))


def changed(before: Files, now: Files) -> list[str]:
    """The names of what is new, gone, or another."""
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def _files_in(folder: str, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    try:
        entries = [*os.scandir(folder)]
    except OSError:
        return  # It is gone, or may not be read any more: what was in it is not there.
    for entry in entries:
        if entry.name != CACHE:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                yield prefix + entry.name, (found.st_mode, found.st_ino)
                yield from _files_in(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns)
