"""Folders of runs: made ahead a few at a time, cleared together, and used again where they were left empty, so that a
short run neither waits for the disk nor keeps it busy."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
from collections import deque
from pathlib import Path

_AHEAD = 64
_GATHER_SECS = 0.1
"""Folders that were given back wait so long for others to be cleared with."""
_WORK, _INPUTS, _OUTPUTS = PARTS = ("work", "in", "out")

_log = logging.getLogger("voxloom.worker")


class Folders:
    """Each folder is empty, and for its owner alone; it holds the folders PARTS. `close` waits for the removals."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ready: deque[Path] = deque()
        self._over: list[Path] = []
        self._making: asyncio.Task[None] | None = None
        self._removing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Removes what an earlier life has left."""
        await asyncio.to_thread(_empty, self._root)

    async def close(self) -> None:
        for task in (self._making, self._removing):
            if task is not None:
                await task
        everything = [*self._over, *self._ready]
        self._over.clear()
        self._ready.clear()
        await asyncio.to_thread(_remove, everything)

    async def take(self) -> Path:
        """Raises OSError where the disk is full or gone."""
        while not self._ready:
            self._make_soon()
            if self._making is not None:
                await asyncio.shield(self._making)
        folder = self._ready.popleft()
        if len(self._ready) < _AHEAD // 2:
            self._make_soon()
        return folder

    def give_back(self, folder: Path) -> None:
        """The run is over: its folder goes, as soon as there is time."""
        self._over.append(folder)
        self._remove_soon()

    def _make_soon(self) -> None:
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="worker.folders.make")

    async def _make(self) -> None:
        self._ready.extend(await asyncio.to_thread(_make, self._root, _AHEAD))

    def _remove_soon(self) -> None:
        if self._removing is None or self._removing.done():
            self._removing = asyncio.create_task(self._remove(), name="worker.folders.remove")

    async def _remove(self) -> None:
        while self._over:
            await asyncio.sleep(_GATHER_SECS)
            over, self._over = self._over, []
            empty = await asyncio.to_thread(_clear, over)
            self._ready.extend(empty)


def _make(root: Path, count: int) -> list[Path]:
    folders = [root / secrets.token_hex(8) for _ in range(count)]
    for folder in folders:
        folder.mkdir(mode=0o700)
        for part in PARTS:
            (folder / part).mkdir()
    return folders


def _clear(folders: list[Path]) -> list[Path]:
    """Removes the folders that were used; the others, to be used again."""
    empty = [folder for folder in folders if _is_untouched(folder)]
    _remove([folder for folder in folders if folder not in empty])
    return empty


def _is_untouched(folder: Path) -> bool:
    try:
        return sorted(os.listdir(folder)) == sorted(PARTS) and not any(os.listdir(folder / part) for part in PARTS)
    except OSError:
        return False


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            _log.warning("the folder of a run could not be removed whole: %s", folder)


def _empty(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
