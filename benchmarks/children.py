"""Processes that a measurement starts and speaks with over their input and output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START_SECS = 120.0
ANSWER_SECS = 600.0
END_SECS = 20.0


class Loader:
    """A process that makes load when it is told to: `peers.talk` is its side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def alone(self, runs: int) -> list[float]:
        """Milliseconds of each."""
        times: list[float] = await self._ask("alone", runs)
        return times

    async def flying(self, runs: int, at_once: int) -> float:
        """Seconds until all have ended."""
        seconds: float = await self._ask("flying", runs, at_once)
        return seconds

    async def _ask(self, order: str, *numbers: int) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order} {' '.join(map(str, numbers))}\n".encode())
        await self._process.stdin.drain()
        return await self.heard(ANSWER_SECS)

    async def heard(self, within: float) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that makes load has ended: its log says why")
        return json.loads(line)


@contextlib.asynccontextmanager
async def loader(
    python: Path | str, module: str, *arguments: str, log: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[Loader]:
    """One that is ready."""
    async with child([str(python), "-m", module, *arguments], log=log, env=env) as process:
        load = Loader(process)
        await load.heard(START_SECS)
        yield load


@contextlib.asynccontextmanager
async def child(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, heard: bool = True
) -> AsyncIterator[asyncio.subprocess.Process]:
    """In a process group of its own, which is gone afterwards. What it says goes to the log, unless it is `heard`: then
    only its errors do."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if heard else file,
            stderr=file,
            limit=1 << 24,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Softly, then not; at last also those that it leaves."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECS):
                await process.communicate()
