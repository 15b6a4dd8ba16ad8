"""Which folder has the modules of an algorithm, after a run has changed the one before.

A folder that has changed is given to no further run: the module is unpacked anew beside it, under `<hash>.1` and so
on. The changed one is removed when no run is in it any more.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from services.worker.pool import Pool
from services.worker.process import RunnerProcess
from voxloom.runner.modulefiles import Files, changed, files_in


class Trees:
    """Of one worker. Names are those of the folders below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._changes: dict[str, int] = {}
        self._files: dict[str, Files] = {}

    def open(self) -> None:
        """Makes `root`, and empties it: what runs have done to it in an earlier life, nobody knows any more."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True, exist_ok=True)

    def name_of(self, module: str) -> str:
        """Of the folder that has the module as it was deployed."""
        count = self._changes.get(module, 0)
        return f"{module}.{count}" if count else module

    def is_old(self, name: str) -> bool:
        """Whether it is the name of a folder that is not given to runs any more."""
        return name != self.name_of(name.partition(".")[0])

    def remember(self, name: str) -> None:
        """It has just been made, and no run has been in it."""
        self._files[name] = files_in(self._root / name)

    def has_changed(self, name: str) -> bool:
        return bool(changed(self._files.get(name, {}), files_in(self._root / name)))

    def give_up(self, name: str) -> None:
        """The next run gets another."""
        if not self.is_old(name):
            module = name.partition(".")[0]
            self._changes[module] = self._changes.get(module, 0) + 1

    def remove(self, name: str) -> None:
        """One that was given up, and that no run is in."""
        shutil.rmtree(self._root / name, ignore_errors=True)
        self._files.pop(name, None)


async def give_back(pool: Pool, process: RunnerProcess, trees: Trees, name: str) -> None:
    """The run of a process is over, which was in the folder `name`. A process that has died has not said whether it has
    changed it."""
    died = not process.alive
    try:
        if process.module_changed or (died and await asyncio.to_thread(trees.has_changed, name)):
            trees.give_up(name)
    finally:
        pool.release(process)
    if trees.is_old(name) and not pool.end_idle_of(name):
        await asyncio.to_thread(trees.remove, name)
