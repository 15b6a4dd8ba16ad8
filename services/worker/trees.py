"""The folders that runs see of an algorithm, and which of them may be given to further runs.

A folder that a run has changed is given to no other: it, and all of the same modules, are put together anew for the
next run, as another generation. The old ones are removed when no run is in them any more.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from services.worker.pool import Pool
from services.worker.process import RunnerProcess
from voxloom.runner.modulefiles import Files, changed, files_in


class Trees:
    """Of one worker. `root` has the folders; a generation is the module's hash, and a number once one was given up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._changes: dict[str, int] = {}
        self._files: dict[str, Files] = {}
        self._generations: dict[str, str] = {}

    def open(self) -> None:
        """Makes `root`, and empties it: what runs have done to it in an earlier life, nobody knows any more."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)

    def generation(self, module: str) -> str:
        """The one that runs of the module are given."""
        count = self._changes.get(module, 0)
        return f"{module}.{count}" if count else module

    def generation_of(self, name: str) -> str:
        return self._generations[name]

    def is_old(self, generation: str) -> bool:
        """Whether it is not given to runs any more."""
        return generation != self.generation(generation.partition(".")[0])

    def remember(self, name: str, generation: str) -> None:
        """The folder has just been made, and no run has been in it."""
        self._files[name] = files_in(self.root / name)
        self._generations[name] = generation

    def has_changed(self, name: str) -> bool:
        return bool(changed(self._files.get(name, {}), files_in(self.root / name)))

    def give_up(self, generation: str) -> None:
        """The next run gets another."""
        if not self.is_old(generation):
            module = generation.partition(".")[0]
            self._changes[module] = self._changes.get(module, 0) + 1

    def remove(self, generation: str) -> None:
        """One that was given up, and that no run is in."""
        for name in [name for name, its in self._generations.items() if its == generation]:
            shutil.rmtree(self.root / name, ignore_errors=True)
            del self._files[name], self._generations[name]


async def give_back(pool: Pool, process: RunnerProcess, trees: Trees, name: str) -> None:
    """The run of a process is over, which was in the folder `name`. A process that has died has not said whether it has
    changed it."""
    died = not process.alive
    generation = trees.generation_of(name)
    try:
        if process.module_changed or (died and await asyncio.to_thread(trees.has_changed, name)):
            trees.give_up(generation)
    finally:
        pool.release(process)
    if trees.is_old(generation) and not pool.end_idle_of(generation):
        await asyncio.to_thread(trees.remove, generation)
