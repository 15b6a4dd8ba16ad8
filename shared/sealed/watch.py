"""Whether files are still where they were opened: a folder can be moved, deleted or replaced under a running server,
which then writes what nobody will find again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

SAID = "The data folder was moved, deleted or replaced under the running server; put it back, or restart the server."
"""What callers are told. It has no path in it: it may reach people outside."""

FOLDER_GONE = "the data folder was moved, deleted or replaced under the running server"

log = logging.getLogger("voxloom.folder")


class Gone(OSError):
    """A file is not the one that was opened."""


class Watch:
    """Knows paths by device and inode, from the root on: so a folder above them that was renamed is noticed, too."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}
        self._missing: Path | None = None

    def keep(self, path: Path) -> None:
        self._known[path] = _identity(os.stat(path))

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
        for path, known in self._known.items():
            try:
                if _identity(os.stat(path)) != known:
                    return path
            except OSError:
                return path
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
