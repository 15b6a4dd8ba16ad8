"""What a no-op run costs: CPU time by process, messages into queues, writes to the store; on both footings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.apart import Apart, writes
from benchmarks.children import Loader, loader
from benchmarks.cpu import Root, per_run, processes, seconds
from benchmarks.figures import Figure, Table, number, percentile
from benchmarks.system import NOOP, System

WARM_UP = 96
ALONE = 200
AT_ONCE = 32
SECS = 12.0
"""About as long runs are counted; there are enough of them, and not too many."""
FEWEST, MOST = 100, 4000
IDLE_SECS = 4.0
LOAD = "load"
ENQUEUES = "messages into queues"
WRITES = "writes to the store"
TITLE = "What a no-op run costs, 32 in flight"
ORDER = ("server", "broker", "store", "gateway", "recorder", "scheduler", "worker", "runners", "ingest", "deployer")


@dataclass(frozen=True)
class Cost:
    """What no-op runs took and used."""

    name: str
    p50: float
    """Milliseconds of one, alone."""
    rate: float
    """Runs a second, 32 in flight."""
    cpu: Mapping[str, float]
    """CPU milliseconds of a run, 32 in flight, by process, that of the client as `load`."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """What else a run needed, 32 in flight."""

    idle: float = 0.0
    """CPU milliseconds of a second in which nothing is asked of it, of all but the client."""

    @property
    def total(self) -> float:
        """CPU milliseconds of all but the client."""
        return sum(ms for name, ms in self.cpu.items() if name != LOAD)


Count = Callable[[], Mapping[str, float]]


async def timed(name: str, load: Loader, roots: Sequence[Root], count: Count = dict) -> Cost:
    """Of a system that runs. Who is busy afterwards still (a recorder, say) is given a second to end it."""
    runs = enough(WARM_UP / await load.flying(WARM_UP, AT_ONCE))
    alone = await load.alone(min(ALONE, runs))
    idle = await _idle(roots)
    watched = [*roots, Root(LOAD, load.pid)]
    used, counts = seconds(processes(), watched), await asyncio.to_thread(count)
    took = await load.flying(runs, AT_ONCE)
    await asyncio.sleep(1.0)
    cpu = per_run(used, seconds(processes(), watched), runs)
    more = {what: (value - counts[what]) / runs for what, value in (await asyncio.to_thread(count)).items()}
    return Cost(name, percentile(alone, 0.5), runs / took, cpu, more, idle)


async def _idle(roots: Sequence[Root]) -> float:
    before = seconds(processes(), roots)
    await asyncio.sleep(IDLE_SECS)
    return sum(per_run(before, seconds(processes(), roots), 1).values()) / IDLE_SECS


def enough(rate: float) -> int:
    """How many runs are counted, where so many end in a second."""
    return int(min(MOST, max(FEWEST, rate * SECS)))


async def embedded() -> Cost:
    async with System() as system:
        return await _ours("Voxloom, embedded", system, [system.url])


async def apart(gateways: int) -> Cost:
    name = "Voxloom, RabbitMQ + S3"
    async with Apart(gateways) as system:

        def count() -> dict[str, float]:
            return {ENQUEUES: system.enqueues().total(), WRITES: writes(system.store_requests())}

        return await _ours(name if gateways == 1 else f"{name}, {gateways} gateways", system, system.urls, count)


async def _ours(name: str, system: System, urls: Sequence[str], count: Count = dict) -> Cost:
    algorithm, log = await system.deploy("noop", NOOP), system.data.parent / "load.log"
    async with loader(sys.executable, "benchmarks.peers.voxloom_noop", algorithm, *urls, log=log) as load:
        return await timed(name, load, system.roots, count)


async def measure(most: int) -> list[Cost]:
    """Embedded, and apart with one gateway, two, up to so many."""
    return [await embedded(), *[await apart(gateways) for gateways in range(1, most + 1)]]


def figures(costs: Sequence[Cost]) -> list[Figure]:
    """What there are limits for."""
    alone, one, *more = costs
    return [
        Figure("CPU time per no-op run, 32 in flight", alone.total, "ms", 3.0),
        Figure("RabbitMQ + S3: CPU time per no-op run, 32 in flight", one.total, "ms", 18.0),
        Figure("RabbitMQ + S3: messages into queues per no-op run", one.counts[ENQUEUES], "messages", 11.0),
        Figure("RabbitMQ + S3: writes to the store per no-op run", one.counts[WRITES], "PUTs", 0.3),
        *(
            Figure(f"{cost.name.removeprefix('Voxloom, ')}: CPU time beside that of one", dearer(cost, one), "%")
            for cost in more
        ),
    ]


def dearer(cost: Cost, than: Cost) -> float:
    """Percent more CPU time for a run."""
    return (cost.total / than.total - 1) * 100


def table(costs: Sequence[Cost]) -> Table:
    names = [name for name in ORDER if any(name in cost.cpu for cost in costs)]
    rows = [_row(name, [cost.cpu.get(name) for cost in costs]) for name in names]
    rows.append(_row("**sum**", [cost.total for cost in costs]))
    rows.append(_row("the client, not in the sum", [cost.cpu.get(LOAD) for cost in costs]))
    rows.append(_row("CPU ms of an idle second", [cost.idle for cost in costs]))
    rows += [_row(what, [cost.counts.get(what) for cost in costs]) for what in (ENQUEUES, WRITES)]
    rows.append(_row("runs a second, all on these cores", [cost.rate for cost in costs]))
    return Table(TITLE, ["CPU ms per run of", *(cost.name.removeprefix("Voxloom, ") for cost in costs)], rows)


def _row(name: str, values: Sequence[float | None]) -> list[str]:
    return [name, *("–" if value is None else number(value) for value in values)]
