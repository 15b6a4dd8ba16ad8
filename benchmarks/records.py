"""Reading the record of a run that has ended, beside a bare handler that answers with the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

from benchmarks.apart import Apart
from benchmarks.children import child
from benchmarks.figures import Figure
from benchmarks.system import NOOP, System

CONNECTIONS = 16
SECS = 2.0
ROUNDS = 5


async def measure() -> list[Figure]:
    async with System() as system:
        figures = [await _reading(system, "GET of a record, 16 connections")]
    async with Apart() as system:
        return [*figures, await _reading(system, "RabbitMQ + S3: GET of a record, 16 connections")]


async def _reading(system: System, name: str) -> Figure:
    record = await system.run(await system.deploy("noop", NOOP))
    ours = f"{system.url}/api/v1/executions/{record['execution_id']}"
    async with system.http.get(ours) as answer:
        body = await answer.read()
    log = system.data.parent / "bare.log"
    async with _bare(body, log) as bare:
        rates: dict[str, list[float]] = {ours: [], bare: []}
        for _ in range(ROUNDS):
            for url, some in rates.items():
                some.append(await _knock(url, log))
    beside = median(rates[bare])
    return Figure(name, median(rates[ours]), "requests/s", 0.5 * beside, False, "bare aiohttp, same bytes", beside)


async def _knock(url: str, log: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.knock", url, str(CONNECTIONS), str(SECS)]
    async with child(command, log=log) as process, asyncio.timeout(60 + SECS):
        said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(log.read_text()[-2000:])
    return float(said)


@contextlib.asynccontextmanager
async def _bare(body: bytes, log: Path) -> AsyncIterator[str]:
    """Its address."""
    async with child([sys.executable, "-m", "benchmarks.bare"], log=log) as process, asyncio.timeout(600):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(body)
        process.stdin.write_eof()
        yield (await process.stdout.readline()).decode().strip()
