"""Whether an algorithm can be loaded on this machine, tried out in a process of its own, with limits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.deployer import limited_process
from shared.forkserver import ForkServer
from voxloom.errors import InvalidInput
from voxloom.runner import libraries
from voxloom.unpack import Algorithm

CODE = "algorithm_not_importable"
LEAST_MEMORY = 8 << 30
"""Bytes of address space: libraries for GPUs reserve much more than they use."""
BEGIN_SECS = 60.0
"""How long the process may take to begin at all: that is ours."""


async def check_importable(
    forks: ForkServer, algorithm: Algorithm, work: Path, *, timeout: float, memory: int | None, lacks: str = ""
) -> str:
    """Imports the algorithm, whose files are laid out, and makes a Runner, in a process that is gone afterwards with
    all it has started. `work` is an empty folder of its own; `lacks` says what may be why it fails. The time that
    libraries take does not count. Returns the schema that its inputs must fit, where that is known.

    Raises:
        InvalidInput: `algorithm_not_importable`; `details["log"]` has the traceback and what was printed.
    """
    folder, report, notes = algorithm.module_dir, work / "report.json", work / "notes"
    before = await asyncio.to_thread(_marks, algorithm)
    arguments = [str(folder), str(report), str(memory or default_memory()), str(_seconds(timeout)), str(notes)]

    async def left(passed: float) -> float:
        times = await asyncio.to_thread(libraries.read, notes)
        return BEGIN_SECS - passed if times.passed is None else timeout - times.own

    tried = await limited_process.run(forks, "check", arguments, work, left)
    tried = tried._replace(printed=tried.printed.replace(f"{folder}/", ""))
    if not tried.ended:
        times = await asyncio.to_thread(libraries.read, notes)
        raise _fault(_late(timeout, times), "", tried.printed, lacks)
    input_schema = _judge(await limited_process.report_of(report), tried, lacks)
    if before != await asyncio.to_thread(_marks, algorithm):
        raise _fault("The algorithm changes its own files while it is imported: write elsewhere.", "", tried.printed)
    return input_schema


def default_memory() -> int:
    return max(LEAST_MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _seconds(timeout: float) -> int:
    return int((timeout + libraries.LONGEST) * (os.cpu_count() or 1)) + 1


def _marks(algorithm: Algorithm) -> Mapping[str, tuple[int, int, int]]:
    """What changes with the contents of a file: they have been hashed, and are yet to be stored."""
    stats = {path: file.place.stat() for path, file in {**algorithm.module, **algorithm.assets}.items()}
    return {path: (one.st_ino, one.st_size, one.st_mtime_ns) for path, one in stats.items()}


def _late(timeout: float, times: libraries.Times) -> str:
    beside = f", beside the time that libraries took ({told})" if (told := times.told()) else ""
    return (
        f"The algorithm cannot be loaded: importing it took longer than {timeout:g} s{beside}. The log shows where it "
        "was. Leave long work to `load_assets`, or have an operator raise the setting `check_timeout`."
    )


def _judge(verdict: Any, tried: limited_process.Tried, lacks: str) -> str:
    if not isinstance(verdict, dict):
        ending = _ending(tried.returncode)
        raise _fault(f"The algorithm cannot be loaded: its process {ending}.", "", tried.printed, lacks)
    if verdict.get("fault"):
        raise _fault(str(verdict["fault"]), str(verdict.get("trace") or ""), tried.printed, lacks)
    return str(verdict.get("input_schema") or "")


def _ending(returncode: int) -> str:
    if returncode < 0:
        name = signal.strsignal(-returncode) or f"signal {-returncode}"
        return f"was killed ({name}) while importing it, which a crash in compiled code or a limit may cause"
    return f"ended with exit code {returncode} while importing it; remove what exits from its modules"


def _fault(message: str, trace: str, printed: str, lacks: str = "") -> InvalidInput:
    if lacks:
        message = f"{message} Mind that {lacks}."
    log = "\n".join(part for part in (message, printed.strip(), trace.strip()) if part)
    return InvalidInput(message, code=CODE, http_status=400, details={"log": log})
