"""Ours and the peers in one table, and in words: who is faster where, and what each keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.cost import LOAD, Cost
from benchmarks.figures import Table, number
from benchmarks.peers.measure import Compared

TITLE = "Beside other systems"
HEAD = [
    "a no-op",
    "one alone, p50",
    "32 in flight",
    "CPU of a run: system",
    "broker, store",
    "client",
    "what is durable",
]
THEIRS = ("broker", "store")
"""Processes that a system only uses."""

EMBEDDED = (
    "the run before POST is answered, each step of it, and its record (SQLite, fsync). "
    "The record, its log and outputs stay until they are deleted"
)
CLUSTER = (
    "the run before POST is answered and each step of it (quorum queues and a stream, persistent, confirmed), "
    "its record in S3. The record, its log and outputs stay until they are deleted"
)
WORDS = """
Celery, taskiq and dramatiq send the arguments of a function to a process, and forget the task when it has ended. A run
of Voxloom is more work: each step of it is kept, and it has a record that anybody can read, list, watch and stop, also
later. Whoever needs none of that need not pay for it: see the lists above.

- Their tasks were sent by their own clients. dramatiq and taskiq have no results on RabbitMQ: their tasks told the
  client of their end by a datagram of this machine, which costs less than a result would.
- Runs of Voxloom and Compox came over HTTP. Voxloom is waited for by a long poll. Compox can only be asked: every 5 ms.
- All that use RabbitMQ used the same version with the same settings, on the same disk. Each had as many worker
  processes as there are cores, and the rest as it comes. Compox has one worker as it comes.
- Compox is meant to keep its data in S3. In memory is its best case, for which no setting asks.
"""


def ours(costs: Sequence[Cost]) -> list[Compared]:
    """Embedded, and apart with one gateway."""
    return [Compared(costs[0].name, EMBEDDED, costs[0]), Compared(costs[1].name, CLUSTER, costs[1])]


def table(rows: Sequence[Compared]) -> Table:
    return Table(TITLE, HEAD, [_row(row) for row in rows], "\n".join([*_rankings(rows), WORDS]))


def _row(row: Compared) -> list[str]:
    if row.cost is None:
        return [row.name, *["–"] * (len(HEAD) - 2), f"not measured: {row.missing}"]
    cost = row.cost
    outside = sum(cost.cpu.get(name, 0.0) for name in THEIRS)
    return [
        row.name,
        f"{number(cost.p50)} ms",
        f"{number(cost.rate)} runs/s",
        f"{number(cost.total - outside)} ms",
        f"{number(outside)} ms" if outside else "–",
        f"{number(cost.cpu[LOAD])} ms",
        row.durable,
    ]


def _rankings(rows: Sequence[Compared]) -> list[str]:
    return [
        f"- One at a time, fastest first: {ranking(rows, lambda cost: cost.p50, 'ms')}",
        f"- 32 in flight, fastest first: {ranking(rows, lambda cost: -cost.rate, 'runs/s')}",
        f"- CPU time of a run without the client's, least first: {ranking(rows, lambda cost: cost.total, 'ms')}",
    ]


def ranking(rows: Sequence[Compared], key: Callable[[Cost], float], unit: str) -> str:
    """All that were measured, least first; the name alone, without its versions."""
    found = sorted((key(row.cost), row.cost.name) for row in rows if row.cost is not None)
    return "; ".join(f"{name} {number(abs(value))} {unit}" for value, name in found) + "."
