"""Reading the record of a run that has ended, beside a bare handler that answers with the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from statistics import median

from benchmarks.apart import Apart
from benchmarks.children import child
from benchmarks.cpu import Root, per_run, processes, seconds
from benchmarks.figures import Figure
from benchmarks.system import NOOP, System

CONNECTIONS = 16
SECS = 2.0
ROUNDS = 5


async def measure() -> list[Figure]:
    async with System() as system:
        figures = await _reading(system, "server", "")
    async with Apart() as system:
        return [*figures, *await _reading(system, "gateway", "RabbitMQ + S3: ")]


async def _reading(system: System, answering: str, footing: str) -> list[Figure]:
    """Requests a second say little while other programs use the same cores; CPU time says more then."""
    record = await system.run(await system.deploy("noop", NOOP))
    url = f"{system.url}/api/v1/executions/{record['execution_id']}"
    async with system.http.get(url) as answer:
        body = await answer.read()
    (pid,) = (root.pid for root in system.roots if root.name == answering)
    log = system.data.parent / "bare.log"
    async with _bare(body, log) as (bare_pid, bare_url):
        pairs = [(await _knock(url, pid, log), await _knock(bare_url, bare_pid, log)) for _ in range(ROUNDS)]
    (rate, cpu), (bare_rate, bare_cpu) = (_medians(some) for some in zip(*pairs, strict=True))
    name, yardstick = f"{footing}GET of a record, {CONNECTIONS} connections", "bare aiohttp, same bytes"
    return [
        Figure(name, rate, "requests/s", 0.5 * bare_rate, False, yardstick, bare_rate),
        Figure(f"{footing}the same, CPU time of a request", cpu, "ms", 2 * bare_cpu, True, yardstick, bare_cpu),
    ]


def _medians(some: Iterable[tuple[float, float]]) -> tuple[float, float]:
    rates, times = zip(*some, strict=True)
    return median(rates), median(times)


async def _knock(url: str, pid: int, log: Path) -> tuple[float, float]:
    """Requests a second, and milliseconds of CPU time that the server needed for each."""
    root = [Root("server", pid)]
    before = seconds(processes(), root)
    command = [sys.executable, "-m", "benchmarks.knock", url, str(CONNECTIONS), str(SECS)]
    async with child(command, log=log) as process, asyncio.timeout(60 + SECS):
        said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(log.read_text()[-2000:])
    answers, took = map(float, said.split())
    return answers / took, per_run(before, seconds(processes(), root), int(answers))["server"]


@contextlib.asynccontextmanager
async def _bare(body: bytes, log: Path) -> AsyncIterator[tuple[int, str]]:
    """Its pid and its address."""
    async with child([sys.executable, "-m", "benchmarks.bare"], log=log) as process, asyncio.timeout(600):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(body)
        process.stdin.write_eof()
        yield process.pid, (await process.stdout.readline()).decode().strip()
