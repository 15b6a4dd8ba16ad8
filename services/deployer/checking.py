"""Whether an algorithm can be loaded on this machine, tried out in a process of its own, with limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import orjson

from shared.environment import scrubbed
from shared.forkserver import ForkServer
from shared.processes import Child, Wanted
from voxloom.errors import InvalidInput

CODE = "algorithm_not_importable"
LEAST_MEMORY = 8 << 30
"""Bytes of address space: libraries for GPUs reserve much more than they use."""
LONGEST_LOG = 16 << 10
"""Bytes of what the algorithm prints; the last ones are kept."""
END_SECS = 5.0


async def check_importable(
    forks: ForkServer, module_dir: Path, work: Path, *, timeout: float, memory: int | None
) -> str:
    """Imports the algorithm in `module_dir` and makes a Runner, in a process that is gone afterwards with all it has
    started. `work` is an empty folder of its own. Returns the schema that its inputs must fit, where that is known.

    Raises:
        InvalidInput: `algorithm_not_importable`; `details["log"]` has the traceback and what was printed.
    """
    report = work / "report.json"
    process, reading = await _start(forks, _command(module_dir, report, timeout, memory or default_memory()), work)
    output = asyncio.create_task(_tail(reading), name="deployer.check.output")
    try:
        ended = await _wait(process, timeout)
    finally:
        returncode = await _end(process)
        printed = await _finish(output)
    if not ended:
        raise _fault(f"The algorithm cannot be loaded: importing it took longer than {timeout:g} s.", "", printed)
    return _judge(await asyncio.to_thread(_read, report), returncode, printed)


def default_memory() -> int:
    return max(LEAST_MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _command(module_dir: Path, report: Path, timeout: float, memory: int) -> list[str]:
    seconds = int(timeout * (os.cpu_count() or 1)) + 1
    return [str(module_dir), str(report), str(memory), str(seconds)]


async def _start(forks: ForkServer, arguments: list[str], work: Path) -> tuple[Child, int]:
    """The process, and where to read what it prints."""
    environment = scrubbed(os.environ) | {"TMPDIR": str(work)}
    reading, writing = os.pipe()
    try:
        wanted = Wanted("check", arguments, environment, output=writing, errors=writing, folder=str(work))
        return await forks.start(wanted), reading
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


async def _wait(process: Child, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await process.exited()
    except TimeoutError:
        return process.has_exited()
    return True


async def _end(process: Child) -> int:
    """Kills it with all that it has started."""
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


def _read(report: Path) -> dict[str, str | None] | None:
    """The report; None where there is no whole one."""
    try:
        verdict: dict[str, str | None] = orjson.loads(report.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return verdict


def _judge(verdict: dict[str, str | None] | None, returncode: int | None, printed: str) -> str:
    if verdict is None:
        raise _fault(f"The algorithm cannot be loaded: its process {_ending(returncode)}.", "", printed)
    if verdict.get("fault"):
        raise _fault(str(verdict["fault"]), verdict.get("trace") or "", printed)
    return str(verdict.get("input_schema") or "")


def _ending(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        name = signal.strsignal(-returncode) or f"signal {-returncode}"
        return f"was killed ({name}) while importing it, which a crash in compiled code or a limit may cause"
    return f"ended with exit code {returncode} while importing it; remove what exits from its modules"


def _fault(message: str, trace: str, printed: str) -> InvalidInput:
    log = "\n".join(part for part in (message, printed.strip(), trace.strip()) if part)
    return InvalidInput(message, code=CODE, http_status=400, details={"log": log})
