"""The embedded bus beside bare SQLite that writes the same bytes: `python -m benchmarks.bus`, in the current folder."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, percentile
from messages.base import Event
from messages.runs import RunStarted
from messages.wire import encode
from shared.bus import topology
from shared.bus.base import Queue
from shared.bus.local import LocalBus

ALONE = 3000
GROUPED = 40_000
PUBLISHERS = 200


def event(number: int) -> Event:
    """A lifecycle event of ordinary size; three queues of the system want it, or would."""
    return RunStarted(
        subject=f"{number}", epoch=1, worker_id="bench", incarnation="i", device="cpu", device_class="cpu"
    )


async def measure(folder: Path) -> list[Figure]:
    alone, grouped = await asyncio.to_thread(_sqlite, folder)
    bus = LocalBus(folder / "bus")
    await bus.open()
    await bus.declare(*topology.ALL)
    times = await _publish_alone(bus)
    figures = [
        Figure("publish, alone, p50", percentile(times, 0.5), "ms", None, True, "a SQLite commit", alone),
        Figure("the same, p99", percentile(times, 0.99), "ms"),
    ]
    scheduler = await _consumed(bus, topology.SCHEDULER)
    times = await _to_handler(bus, scheduler)
    figures += [
        Figure("publish → handled, alone, p50", percentile(times, 0.5), "ms", None, True, "a SQLite commit", alone),
        Figure("the same, p99", percentile(times, 0.99), "ms"),
        Figure(f"{PUBLISHERS} publishers, handled twice", await _grouped(bus, scheduler), "/s", None, False,
               f"SQLite, {PUBLISHERS} rows a commit", grouped),
    ]  # fmt: skip
    await bus.close()
    return figures


def _sqlite(folder: Path) -> tuple[float, float]:
    """One commit in ms, and rows per second in commits of as many as there are publishers."""
    body = encode(event(0)).body
    with closing(sqlite3.connect(folder / "yardstick.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, head BLOB, body BLOB)")
        rows = [(bytes(500), body)]
        times = [_insert(connection, rows) * 1e3 for _ in range(ALONE)]
        rows *= PUBLISHERS
        rounds = GROUPED // PUBLISHERS
        seconds = sum(_insert(connection, rows) for _ in range(rounds))
    return percentile(times, 0.5), rounds * PUBLISHERS / seconds


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes]]) -> float:
    begun = time.perf_counter()
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO rows (head, body) VALUES (?, ?)", rows)
    connection.execute("COMMIT")
    return time.perf_counter() - begun


async def _publish_alone(bus: LocalBus) -> list[float]:
    times = []
    for number in range(ALONE):
        begun = time.perf_counter()
        await bus.publish(event(number))
        times.append((time.perf_counter() - begun) * 1e3)
    return times


class Count:
    """A handler that counts, and says when it has `expected` more."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._left = 0

    def expect(self, events: int) -> None:
        self.reached.clear()
        self._left = events

    async def __call__(self, events: Sequence[Event]) -> None:
        self._left -= len(events)
        if self._left <= 0:
            self.reached.set()


async def _consumed(bus: LocalBus, queue: Queue) -> Count:
    """A consumer that has caught up."""
    count = Count()
    waiting = next(stats.waiting for stats in await bus.stats() if stats.name == queue.name)
    count.expect(waiting)
    await bus.consume(queue, count)
    if waiting:
        await count.reached.wait()
    return count


async def _to_handler(bus: LocalBus, handler: Count) -> list[float]:
    times = []
    for number in range(ALONE):
        handler.expect(1)
        begun = time.perf_counter()
        publishing = asyncio.ensure_future(bus.publish(event(number)))
        await handler.reached.wait()
        times.append((time.perf_counter() - begun) * 1e3)
        await publishing
    return times


async def _grouped(bus: LocalBus, scheduler: Count) -> float:
    """Events per second until the scheduler's and the recorder's queue have handled them."""
    recorder = await _consumed(bus, topology.RECORDER)
    left = iter(range(GROUPED))

    async def one_after_another() -> None:
        for number in left:
            await bus.publish(event(number))

    scheduler.expect(GROUPED)
    recorder.expect(GROUPED)
    begun = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(PUBLISHERS)))
    await asyncio.gather(scheduler.reached.wait(), recorder.reached.wait())
    return GROUPED / (time.perf_counter() - begun)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        figures = uvloop.run(measure(Path(folder)))
    table = Table("figure", "measured", "", "", "yardstick in the same run", "ratio")
    for figure in figures:
        table.add_row(*figure.row())
    Console().print(table)


if __name__ == "__main__":
    main()
