"""Lists over many records: one page over real HTTP, by every filter and sort; and a gateway that starts with them."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import httpx

from benchmarks.figures import Figure, percentile
from services.gateway.service import Gateway
from shared.bus import topology
from shared.bus.local import LocalBus
from shared.objects.local import LocalObjectStore
from shared.records.ledger import BLOCK, Ledger
from shared.records.store import RecordStore
from shared.service import Platform
from shared.settings import Settings
from voxloom.ids import new_id
from voxloom.models import ExecutionSummary, Status, format_time, utc_now

RECORDS = 100_000
TRIES = 20
_ENDED = [status for status in Status if status.terminal]
QUERIES = [
    "",
    "sort=oldest",
    "sort=longest",
    "sort=shortest",
    "sort=status",
    "status=FAILED&status=STOPPED&sort=longest",
    "algorithm=algorithm-7",
    "algorithm=algorithm-7&status=FAILED&sort=shortest",
    "project=rare&sort=longest",
    "until={middle}&status=COMPLETED",
    "since={middle}&until={middle}&sort=longest",
]


async def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        bus, store = LocalBus(Path(folder) / "bus"), LocalObjectStore(Path(folder) / "objects")
        await bus.open()
        await bus.declare(*topology.ALL)
        await store.open()
        try:
            platform = Platform(bus=bus, store=store, settings=Settings(data=Path(folder), port=0))
            await _fill(RecordStore(store))
            return await _measure(platform)
        finally:
            await bus.close()
            await store.close()


async def _fill(records: RecordStore) -> None:
    """As the recorder keeps them: rows in blocks, and a snapshot that names these."""
    ledger = Ledger()
    for block in range(RECORDS // BLOCK):
        rows = [_row(block * BLOCK + number) for number in range(BLOCK)]
        ledger.blocks.append(await records.save_rows(block, rows))
    await records.save_snapshot(ledger.snapshot(utc_now()))


def _row(number: int) -> ExecutionSummary:
    begun = utc_now() - timedelta(seconds=RECORDS - number)
    return ExecutionSummary(
        execution_id=new_id(),
        algorithm_id=f"id-{number % 20}",
        algorithm_name=f"algorithm-{number % 20}",
        algorithm_major_version="1",
        algorithm_minor_version="0",
        status=random.choices(_ENDED, [90, 8, 2])[0],
        progress=1.0,
        time_started=format_time(begun),
        time_completed=format_time(begun + timedelta(seconds=random.expovariate(1))),
        project="rare" if number % 1000 == 0 else "default",
        attempt=1,
    )


async def _measure(platform: Platform) -> list[Figure]:
    gateway = Gateway(platform)
    begun = time.perf_counter()
    await gateway.start()
    ready = time.perf_counter() - begun
    try:
        middle = format_time(utc_now() - timedelta(seconds=RECORDS / 2)).replace("+", "%2B")
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
            times = {query: await _times(client, query.format(middle=middle)) for query in QUERIES}
    finally:
        await gateway.stop()
    name, worst = max(((name, percentile(found, 0.95)) for name, found in times.items()), key=lambda pair: pair[1])
    every = percentile([one for found in times.values() for one in found], 0.95)
    return [
        Figure(f"gateway with {RECORDS:,} records, start → ready", ready, "s", 5.0),
        Figure(f"page of {RECORDS:,} executions, p95 of all filters and sorts", every * 1000, "ms", 50),
        Figure(f"the same, p95 of the slowest (`{name}`)", worst * 1000, "ms", 50),
    ]


async def _times(client: httpx.AsyncClient, query: str) -> list[float]:
    """Seconds for each of the first pages, begun anew where there are no more."""
    first = url = f"/api/v1/executions?limit=100&{query}"
    times: list[float] = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        answer = await client.get(url)
        times.append(time.perf_counter() - begun)
        answer.raise_for_status()
        url = answer.links["next"]["url"] if "next" in answer.links else first
    return times


if __name__ == "__main__":
    for figure in asyncio.run(measure()):
        print(*figure.row(), sep=" | ")
