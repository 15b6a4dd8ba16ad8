"""Files that no object consists of: set aside before they go, since the index may be the one that is wrong.

`quarantine/<seconds>/<shard>-<name>` under the store's folder; the seconds are the expiry clock's when the file was set
aside. Everything here blocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.expiry import DAY
from shared.objects.disk.placing import sync_folder
from shared.objects.embedded.blobs import Blobs

KEEP_SECS = 2 * DAY
"""A start may move the clock by a day: with two, a healthy index has not known a file for a day at the least."""

Known = Callable[[Sequence[str]], set[str]]
"""Those of some files that an object consists of."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A file that was set aside."""

    path: Path
    file: str
    """Its name among the files of objects."""
    since: float


class Quarantine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "quarantine"

    def take(self, blobs: Blobs, files: Sequence[str], now: float) -> int:
        """Sets files aside. Returns how many those were."""
        if not files:
            return 0
        place = self.folder / str(int(now))
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        moved = 0
        for file in files:
            with suppress(FileNotFoundError):  # Its object was deleted just now.
                os.replace(blobs.path(file), place / file.replace("/", "-"))
                moved += 1
        sync_folder(place)
        return moved

    def give_back(self, blobs: Blobs, known: Known) -> int:
        """Puts back what an object consists of after all. Returns how many those were."""
        found = {one.file: one for one in self.files()}
        back = known(list(found))
        for file in back:
            os.replace(found[file].path, blobs.new_path(file))
            sync_folder(blobs.path(file).parent)
        return len(back)

    def clear(self, known: Known, now: float) -> int:
        """Removes what has been here for long enough. Returns how many files those were."""
        old = {one.file: one.path for one in self.files() if now - one.since >= KEEP_SECS}
        needed = known(list(old))
        doomed = [path for file, path in old.items() if file not in needed]
        for path in doomed:
            path.unlink()
        _remove_empty(self.folder)
        return len(doomed)

    def files(self) -> Iterator[Aside]:
        for place in _folders(self.folder):
            for path in place.iterdir():
                shard, _, name = path.name.partition("-")
                yield Aside(path, f"{shard}/{name}", float(place.name))


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("[0-9]*")) if folder.is_dir() else ()


def _remove_empty(folder: Path) -> None:
    for place in _folders(folder):
        if not any(place.iterdir()):
            place.rmdir()
