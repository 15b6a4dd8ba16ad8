"""Starting, idling, surviving."""

from __future__ import annotations

import asyncio
import signal
import time

from benchmarks.figures import Figure, percentile
from benchmarks.system import NOOP, System

MIB = 1 << 20


async def measure() -> list[Figure]:
    starts = []
    for _ in range(3):
        async with System() as system:
            starts.append(system.started_in)
            await asyncio.sleep(1.0)
            idle = system.memory() / MIB
    figures = [
        Figure("cold start, `voxloom up` → ready", percentile(starts, 0.5), "s", 2.0),
        Figure("idle memory of the server", idle, "MiB", 200),
    ]
    return [*figures, await _survival()]


async def _survival(runs: int = 200) -> Figure:
    """From the start after a SIGKILL until the last of the runs accepted before has ended."""
    async with System() as system:
        noop = await system.deploy("noop", NOOP)
        await system.run(noop)
        accepted = await asyncio.gather(*(system.submit(noop) for _ in range(runs)))
        await system.end(signal.SIGKILL)
        begun = time.perf_counter()
        await system.start()
        records = [await system.wait(run) for run in accepted]
        assert {record["status"] for record in records} == {"COMPLETED"}
        return Figure(f"SIGKILL with {runs} runs accepted → all COMPLETED", time.perf_counter() - begun, "s")
