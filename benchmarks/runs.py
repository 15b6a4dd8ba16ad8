"""Runs: how long a no-op takes, how many fit into a second, how soon a stop is heard."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.system import NOOP, STUCK, TICKER, System

WARM_UP = 50


async def measure(system: System) -> list[Figure]:
    noop = await system.deploy("noop", NOOP)
    for _ in range(WARM_UP):
        await system.run(noop)
    commit = await asyncio.to_thread(commit_ms, system.data.parent)
    figures = await _latency(system, noop, commit)
    figures += [await _throughput(system, noop), await _submits(system, noop)]
    figures += await _stops(system)
    return [*figures, await _progress(system)]


async def _latency(system: System, noop: str, commit: float) -> list[Figure]:
    times = []
    for _ in range(300):
        begun = time.perf_counter()
        await system.run(noop)
        times.append((time.perf_counter() - begun) * 1e3)
    # Four commits lie one behind the other on the way: requested, assigned, finished, completed.
    return [
        Figure("no-op, POST → COMPLETED seen by long poll, p50", percentile(times, 0.5), "ms", 4.0, True,
               "4 SQLite commits", 4 * commit),
        Figure("the same, p95", percentile(times, 0.95), "ms"),
    ]  # fmt: skip


async def _throughput(system: System, noop: str, runs: int = 3000, flying: int = 32) -> Figure:
    left = iter(range(runs))

    async def one_after_another() -> None:
        for _ in left:
            await system.run(noop)

    begun = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(flying)))
    return Figure("no-op, 32 in flight", runs / (time.perf_counter() - begun), "runs/s", 600, False)


async def _submits(system: System, noop: str, runs: int = 2000, flying: int = 32) -> Figure:
    left = iter(range(runs))
    accepted: list[str] = []

    async def one_after_another() -> None:
        accepted.extend([await system.submit(noop) for _ in left])

    begun = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(flying)))
    seconds = time.perf_counter() - begun
    for run in accepted[-64:]:
        await system.wait(run)
    return Figure("submit accepted, 32 in flight", runs / seconds, "requests/s", 1500, False)


async def _stops(system: System) -> list[Figure]:
    ticker, stuck = await system.deploy("ticker", TICKER), await system.deploy("stuck", STUCK)
    listening = [await _stop_ms(system, ticker) for _ in range(20)]
    deaf = [await _stop_ms(system, stuck) for _ in range(3)]
    blockers = [await system.submit(ticker) for _ in range(16)]
    await asyncio.sleep(0.5)
    queued = []
    for _ in range(20):
        run = await system.submit(ticker)
        begun = time.perf_counter()
        await system.stop(run)
        await system.wait(run)
        queued.append((time.perf_counter() - begun) * 1e3)
    for run in blockers:
        await system.stop(run)
        await system.wait(run)
    return [
        Figure("stop → STOPPED, API called every 50 ms, p95", percentile(listening, 0.95), "ms", 80),
        Figure("stop → STOPPED, stuck in C (grace 1 s), worst", max(deaf), "ms", 1500, True, "grace", 1000.0),
        Figure("stop of a queued run, p95", percentile(queued, 0.95), "ms", 20),
    ]


async def _stop_ms(system: System, algorithm: str) -> float:
    run = await system.submit(algorithm)
    await system.until(run, "RUNNING")
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    await system.stop(run)
    record = await system.wait(run)
    assert record["status"] == "STOPPED", record
    return (time.perf_counter() - begun) * 1e3


async def _progress(system: System) -> Figure:
    """The runner says when, by the machine's clock; the reader of the stream compares."""
    body = """
    def preprocess(self, input_data, args):
        return []

    def inference(self, data, args):
        import time
        begun = args["begun"]
        for _ in range(40):
            time.sleep(0.1)
            self.set_progress((time.time() - begun) / 1000)

    def postprocess(self, data, args):
        return []
"""
    clock = await system.deploy("clock", body)
    begun = time.time()
    run = await system.submit(clock, begun=begun)
    delays = []
    kind = ""
    async with system.http.get(f"{system.url}/api/v1/executions/{run}/events") as stream:
        async for line in stream.content:
            text = line.decode().strip()
            if text.startswith("event:"):
                kind = text.removeprefix("event:").strip()
            elif text.startswith("data:") and kind == "progress":
                said = begun + json.loads(text.removeprefix("data:"))["progress"] * 1000
                delays.append((time.time() - said) * 1e3)
    return Figure("progress in the runner → seen on SSE, p95", percentile(delays, 0.95), "ms", 100)


def commit_ms(folder: Path, count: int = 500) -> float:
    """Milliseconds of one small durable SQLite transaction in that folder."""
    path = folder / "yardstick.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table if not exists t (a integer primary key, b blob)")
    begun = time.perf_counter()
    for _ in range(count):
        connection.execute("insert into t (b) values (?)", (b"x" * 800,))
    seconds = time.perf_counter() - begun
    connection.close()
    path.unlink()
    return seconds / count * 1e3
