"""A process with limits that works on what somebody has sent, and is gone afterwards with all it has started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from shared.environment import scrubbed
from shared.forkserver import ForkServer
from shared.processes import Child, Wanted
from voxloom.regular import read_regular

LONGEST_LOG = 16 << 10
"""Bytes of what it prints; the last ones are kept."""
LARGEST_REPORT = 16 << 20
"""Bytes; what is larger was not written by us."""
END_SECS = 5.0
LOOK_SECS = 0.25
"""How often it is looked whether its time is up: that depends on what it does."""
TELL_SECS = 0.3
"""How long it may take to print where it is before it is killed."""


class Tried(NamedTuple):
    """What came of it. `ended`: by itself, within its time."""

    ended: bool
    returncode: int
    printed: str


async def run(
    forks: ForkServer,
    main: Literal["check", "describe"],
    arguments: Sequence[str],
    work: Path,
    left: Callable[[float], Awaitable[float]],
) -> Tried:
    """Runs it in the folder `work`. `left`: how many seconds it still has, of so many that have passed."""
    process, reading = await _start(forks, main, arguments, work)
    output = asyncio.create_task(_tail(reading), name="deployer.check.output")
    ended = False
    try:
        ended = await _wait(process, left)
    finally:
        returncode = await _end(process, told=not ended)
        printed = await _finish(output)
    return Tried(ended, returncode, printed)


async def report_of(path: Path) -> Any:
    """What it has written as JSON; None where that is not whole."""
    return await asyncio.to_thread(_report, path)


async def _start(
    forks: ForkServer, main: Literal["check", "describe"], arguments: Sequence[str], work: Path
) -> tuple[Child, int]:
    """The process, and where to read what it prints."""
    environment = scrubbed(os.environ) | {"TMPDIR": str(work)}
    reading, writing = os.pipe()
    try:
        wanted = Wanted(main, arguments, environment, output=writing, errors=writing, folder=str(work))
        return await forks.start(wanted), reading
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


async def _wait(process: Child, left: Callable[[float], Awaitable[float]]) -> bool:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while await left(loop.time() - begun) > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECS):
                await process.exited()
                return True
    return process.has_exited()


async def _end(process: Child, *, told: bool) -> int:
    """Kills it with all that it has started; `told`: it says before where it is."""
    if told and not process.has_exited():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TELL_SECS):
                await process.exited()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.exited()
    return await process.reap()


async def _tail(reading: int) -> str:
    """The end of what it prints. Reads on until nobody has the other end any more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb"))
    kept = b""
    try:
        while piece := await reader.read(1 << 16):
            kept = (kept + piece)[-LONGEST_LOG:]
    finally:
        transport.close()
    return kept.decode(errors="replace")


async def _finish(output: asyncio.Task[str]) -> str:
    """What was printed; nothing, should a child that has escaped still hold the pipe."""
    try:
        async with asyncio.timeout(END_SECS):
            return await output
    except TimeoutError:
        return ""


def _report(path: Path) -> Any:
    data = read_regular(path, LARGEST_REPORT + 1)
    try:
        return orjson.loads(data) if data is not None and len(data) <= LARGEST_REPORT else None
    except orjson.JSONDecodeError:
        return None
