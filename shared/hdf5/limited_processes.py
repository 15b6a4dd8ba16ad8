"""Processes with limits from the outside: started, lent to one user at a time, and killed when something went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from shared.environment import scrubbed
from voxloom.errors import Unavailable

START_SECS = 60.0
END_SECS = 5.0
MOST_FILES = 5000
"""After so many files a process is replaced: the library never gives all of its memory back."""
LONGEST_LINE = 256 << 20


class Helper:
    """One process. It says a line when it is ready, and then answers what it is asked."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.requests = process.stdin
        self.replies = process.stdout
        self.leaving = False
        """It has said that it ends."""
        self.files = 0
        self._process = process
        self._ready = False

    async def wait_until_ready(self) -> None:
        """Raises Unavailable."""
        if self._ready:
            return
        try:
            async with asyncio.timeout(START_SECS):
                line = await self.replies.readline()
        except TimeoutError:
            raise _not_started(f"it was not ready within {START_SECS:.0f} s") from None
        if not line:
            raise _not_started("it ended at once")
        self._ready = True

    async def send(self, *pieces: bytes) -> None:
        """Silent where the process has died: the answer that is missing says so."""
        with contextlib.suppress(ConnectionError):
            self.requests.writelines(pieces)
            await self.requests.drain()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self.requests.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECS):
                await self._process.wait()


class Helpers:
    """Up to `most` processes that run the file of `module`, each for one user at a time; those that are not needed stay
    warm."""

    def __init__(self, module: ModuleType, *, most: int, memory: int, timeout: float) -> None:
        self._module = module
        self._memory = memory
        self._timeout = timeout
        self._free = asyncio.Semaphore(most)
        self._idle: list[Helper] = []

    async def warm_up(self) -> None:
        """Starts one process; it gets ready by itself. Raises Unavailable."""
        self._idle.append(await self._start())

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Helper]:
        """A process that is ready. Whatever is raised in the block, it is killed for it. Raises Unavailable."""
        async with self._free:
            helper = self._idle.pop() if self._idle else await self._start()
            try:
                await helper.wait_until_ready()
                helper.files += 1
                yield helper
            except BaseException:
                await helper.kill()
                raise
            if helper.leaving or helper.files >= MOST_FILES:
                await helper.kill()
            else:
                self._idle.append(helper)

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(helper.kill() for helper in idle))

    async def _start(self) -> Helper:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(self._module.__file__),
                str(self._memory),
                str(self._timeout),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=_environment(),
                limit=LONGEST_LINE,
                start_new_session=True,  # A Ctrl-C in the terminal is for us to handle.
            )
        except OSError as error:
            raise _not_started(str(error)) from error
        return Helper(process)


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
