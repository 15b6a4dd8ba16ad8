"""How the bytes of an object come to a path that somebody has chosen: as a link where that can be, in one step.
Everything here blocks and belongs into a thread."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

READ_ONLY = 0o444
"""Objects are handed out as hard links: a stray write to one must fail."""


class Replaced(Exception):
    """The file is gone, since its object was replaced or deleted after its row was read."""


def place(target: Path, source: Path | bytes) -> None:
    """Puts a file, as a link where that can be, or bytes at `target`, in one step; what was there before goes.

    Raises Replaced.
    """
    if not isinstance(source, bytes) and _is_linked(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if isinstance(source, bytes):
            temporary.write_bytes(source)
            temporary.chmod(READ_ONLY)
        else:
            _link(source, temporary)
        os.replace(temporary, target)
    finally:
        # Renaming a link over another link to the same file does nothing: the temporary name would stay.
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes sure that the names in a folder are there after a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_linked(source: Path, target: Path) -> bool:
    """The short way, where `target` is free and its folder is there."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise Replaced from None
    except OSError:  # Another file system, or one without links, or too many of them.
        shutil.copyfile(source, target)
        target.chmod(READ_ONLY)
