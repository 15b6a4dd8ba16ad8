"""The inspecting processes from the outside: started, asked, and killed when they do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import orjson

from services.ingest import inspector
from shared.environment import scrubbed
from voxloom.errors import InvalidInput, Unavailable
from voxloom.models import DatasetInfo

START_SECS = 60.0
END_SECS = 5.0
MOST_FILES = 5000
"""After so many files a process is replaced: the library never gives all of its memory back."""
LONGEST_ANSWER = 256 << 20


class Inspectors:
    """Up to `most` processes, each with one file at a time; those that are not needed stay warm."""

    def __init__(self, *, most: int, memory: int, timeout: float, limit: int) -> None:
        self._memory = memory
        self._timeout = timeout
        self._limit = limit
        self._free = asyncio.Semaphore(most)
        self._idle: list[_Inspector] = []

    async def warm_up(self) -> None:
        """Starts one process; it gets ready by itself. Raises Unavailable."""
        self._idle.append(await self._start())

    async def inspect(self, path: Path) -> list[DatasetInfo]:
        """The datasets of an HDF5 file.

        Raises:
            InvalidInput: `invalid_hdf5_file`: it is none, or none that may be opened; the message says why.
            Unavailable: no process could be started.
        """
        async with self._free:
            inspector = self._idle.pop() if self._idle else await self._start()
            try:
                reply = await inspector.ask(path, self._limit, self._timeout)
            except BaseException:
                await inspector.kill()
                raise
            await self._give_back(inspector, leaving=bool(reply.get("leaving")))
        if "datasets" not in reply:
            raise refused(str(reply.get("refused")))
        return [DatasetInfo.model_validate(dataset) for dataset in reply["datasets"]]

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(inspector.kill() for inspector in idle))

    async def _give_back(self, inspector: _Inspector, *, leaving: bool) -> None:
        if leaving or inspector.files >= MOST_FILES:
            await inspector.kill()
        else:
            self._idle.append(inspector)

    async def _start(self) -> _Inspector:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                inspector.__file__,
                str(self._memory),
                str(self._timeout),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=_environment(),
                limit=LONGEST_ANSWER,
                start_new_session=True,  # A Ctrl-C in the terminal is for us to handle.
            )
        except OSError as error:
            raise _not_started(str(error)) from error
        return _Inspector(process)


class _Inspector:
    """One process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ready = False
        self.files = 0

    async def ask(self, path: Path, limit: int, timeout: float) -> dict[str, Any]:
        """Its answer about one file. When it raises, the process is of no use any more."""
        await self._wait_until_ready()
        self.files += 1
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # It has died: the answer that is missing says so.
            self._process.stdin.write(orjson.dumps({"path": str(path), "limit": limit}) + b"\n")
            await self._process.stdin.drain()
        try:
            async with asyncio.timeout(timeout):
                line = await self._read()
        except TimeoutError:
            raise refused(f"opening it took longer than {timeout:g} s") from None
        if not line.endswith(b"\n"):
            raise refused("it crashes the HDF5 library or needs too much memory to open")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    async def _wait_until_ready(self) -> None:
        if self._ready:
            return
        try:
            async with asyncio.timeout(START_SECS):
                line = await self._read()
        except TimeoutError:
            raise _not_started(f"it was not ready within {START_SECS:.0f} s") from None
        if not line:
            raise _not_started("it ended at once")
        self._ready = True

    async def _read(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECS):
                await self._process.wait()


def refused(reason: str) -> InvalidInput:
    return InvalidInput(f"The file was refused: {reason}.", code="invalid_hdf5_file")


def _not_started(reason: str) -> Unavailable:
    return Unavailable(f"The process that inspects files could not be started: {reason}.", code="inspector_unavailable")


def _environment() -> dict[str, str]:
    """No secrets, no plugins, no threads."""
    return scrubbed(os.environ) | {
        "HDF5_PLUGIN_PRELOAD": "::",
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
