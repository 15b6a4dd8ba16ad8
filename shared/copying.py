"""Copies of files, which share their blocks with the original on file systems that can do so (btrfs, XFS)."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

_PIECE = 1 << 24


def copy_bytes(source: int, target: int) -> None:
    """Copies all bytes from a descriptor at its beginning to one of an empty file. Blocks. Raises OSError."""
    if not _is_cloned(source, target):
        with open(source, "rb", closefd=False) as reader, open(target, "wb", closefd=False) as writer:
            shutil.copyfileobj(reader, writer, _PIECE)


def _is_cloned(source: int, target: int) -> bool:
    """The system copies by itself where it can."""
    if not hasattr(os, "copy_file_range"):
        return False
    with suppress(OSError):
        while os.copy_file_range(source, target, _PIECE):
            pass
        return True
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    os.ftruncate(target, 0)
    return False
