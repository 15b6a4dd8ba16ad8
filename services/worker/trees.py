"""The folders that runs see of an algorithm, and which of them may be given to further runs.

Each project has its own, of equal modules, too: what runs of one do to theirs, no run of another sees. A folder that is
not as it was made is given to no further run: it, and all of the same modules, are put together anew, as another
generation. The old ones are removed when no run is in them any more.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from services.worker.pool import Pool
from services.worker.process import RunnerProcess
from voxloom.runner.modulefiles import Files, changed, files_in


class Trees:
    """Of one worker. `root` has the folders; a generation is a project and its module's hash, and a number once one was
    given up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._changes: dict[str, int] = {}
        self._files: dict[str, Files] = {}
        self._generations: dict[str, str] = {}

    def open(self) -> None:
        """Makes `root`, and empties it: what runs have done to it in an earlier life, nobody knows any more."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True, exist_ok=True)

    def generation(self, project: str, module: str) -> str:
        """The one that runs of the module are given in this project."""
        return self._newest(f"{project}/{module}")

    def _newest(self, whose: str) -> str:
        count = self._changes.get(whose, 0)
        return f"{whose}.{count}" if count else whose

    def generation_of(self, name: str) -> str:
        return self._generations[name]

    def knows(self, name: str) -> bool:
        """Whether it has not been removed meanwhile."""
        return name in self._generations

    def is_old(self, generation: str) -> bool:
        """Whether it is not given to runs any more."""
        return generation != self._newest(_whose(generation))

    def remember(self, name: str, generation: str) -> None:
        """The folder has just been made, and no run has been in it."""
        self._files[name] = files_in(self.root / name)
        self._generations[name] = generation

    def has_changed(self, name: str) -> bool:
        return bool(changed(self._files.get(name, {}), files_in(self.root / name)))

    def give_up(self, generation: str) -> None:
        """The next run gets another."""
        if not self.is_old(generation):
            whose = _whose(generation)
            self._changes[whose] = self._changes.get(whose, 0) + 1

    def remove(self, generation: str) -> None:
        """One that was given up, and that no run is in."""
        for name in [name for name, its in self._generations.items() if its == generation]:
            shutil.rmtree(self.root / name, ignore_errors=True)
            self._files.pop(name, None)
            self._generations.pop(name, None)


def _whose(generation: str) -> str:
    """Project and module: neither has a dot."""
    return generation.partition(".")[0]


async def look_over(pool: Pool, trees: Trees, name: str) -> None:
    """Before a run is given the folder `name`: gives it up where it is not as it was made. Processes say whether they
    have changed their own folder, and nobody says it of that of another."""
    if not trees.knows(name):
        return
    generation = trees.generation_of(name)
    if await asyncio.to_thread(trees.has_changed, name):
        trees.give_up(generation)
        await _clear(pool, trees, generation)


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
    if trees.is_old(generation):
        await _clear(pool, trees, generation)


async def _clear(pool: Pool, trees: Trees, generation: str) -> None:
    """Ends what waits in the folders of a generation that was given up, and removes them once no run is in them."""
    if not pool.end_idle_of(generation):
        await asyncio.to_thread(trees.remove, generation)
