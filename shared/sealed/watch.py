"""Whether files are still where they were opened: a folder can be moved, deleted or replaced under a running server,
which then writes what nobody will find again."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

SAID = "The data folder was moved, deleted or replaced under the running server; put it back, or restart the server."
"""What callers are told. It has no path in it: it may reach people outside."""

FOLDER_GONE = "the data folder was moved, deleted or replaced under the running server"

log = logging.getLogger("voxloom.folder")


class Gone(OSError):
    """A file is not the one that was opened."""


_TICK_NS = 1_000_000_000
"""A change of a folder that is younger may be followed by another with the same time."""

_Folder = tuple[int, int, int]
"""Device, inode, and when something in it was made, renamed or deleted."""


class Watch:
    """Knows paths by device and inode, from the root on: so a folder above them that was renamed is noticed, too.

    It is asked before each commit. Mostly it looks at the folders alone: while those are as they were, so are the names
    in them."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}
        self._folders: list[str] = []
        self._settled: list[_Folder] | None = None
        """The folders as they were when all files were there."""
        self._missing: Path | None = None

    def keep(self, path: Path) -> None:
        self._known[path] = _identity(os.stat(path))
        self._folders = sorted({str(path.parent) for path in self._known})
        self._settled = None

    def check(self) -> None:
        """Raises Gone, and says it in the log once for each time."""
        missing = self.missing()
        if missing is not None and self._missing is None:
            log.critical(
                "%s was moved, deleted or replaced under the running server, which takes nothing new: put the folder "
                "back where it was; if that cannot be, stop the server, restore the folder from a backup, start again",
                missing,
            )
        elif missing is None and self._missing is not None:
            log.warning("%s is back where it was", self._missing)
        self._missing = missing
        if missing is not None:
            raise Gone(SAID)

    def missing(self) -> Path | None:
        """The first that is not there any more, or is another file."""
        folders = self._look_at_folders()
        if folders is not None and folders == self._settled:
            return None
        missing = self._look_at_files()
        self._settled = folders if missing is None else None
        return missing

    def _look_at_folders(self) -> list[_Folder] | None:
        """None where that says nothing of the files."""
        try:
            found = [os.stat(folder) for folder in self._folders]
        except OSError:
            return None
        latest = time.time_ns() - _TICK_NS
        if any(one.st_mtime_ns > latest for one in found):
            return None
        return [(one.st_dev, one.st_ino, one.st_mtime_ns) for one in found]

    def _look_at_files(self) -> Path | None:
        for path, known in self._known.items():
            try:
                if _identity(os.stat(path)) != known:
                    return path
            except OSError:
                return path
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
