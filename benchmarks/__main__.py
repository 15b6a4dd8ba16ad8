"""`python -m benchmarks [PART...]`: measures and prints tables. A run of all parts also writes results.json and
docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks import cluster, cost, data, lifecycle, lists, records, runs
from benchmarks.figures import HEAD, Figure, Table
from benchmarks.peers import comparison
from benchmarks.peers import measure as peers
from benchmarks.report import Results, as_json, machine, page
from benchmarks.system import System

HERE = Path(__file__).parent
PARTS = {
    "runs": "how long runs and stops take",
    "data": "bytes in and out, and runs on them",
    "lifecycle": "starts, memory, a kill",
    "lists": "pages of 100,000 executions",
    "cluster": "runs and stops on RabbitMQ + S3",
    "records": "reading a record, on both footings",
    "cost": "CPU time, messages and writes for a run, with 1 to 3 gateways",
    "peers": "Celery, taskiq, dramatiq and Compox beside ours",
}


async def measure(parts: list[str]) -> Results:
    figures: list[Figure] = []
    tables: list[Table] = []
    if "runs" in parts:
        async with System(grace=1.0) as system:
            figures += await runs.measure(system)
    if "data" in parts:
        async with System() as system:
            figures += await data.measure(system)
    if "lifecycle" in parts:
        figures += await lifecycle.measure()
    if "lists" in parts:
        figures += await lists.measure()
    if "cluster" in parts:
        figures += await cluster.measure()
    if "records" in parts:
        figures += await records.measure()
    costs = await cost.measure(3 if "cost" in parts else 1) if {"cost", "peers"} & set(parts) else []
    if "cost" in parts:
        figures += cost.figures(costs)
        tables.append(cost.table(costs))
    if "peers" in parts:
        tables.append(comparison.table([*comparison.ours(costs), *await peers.measure()]))
    return Results(figures, tables)


def show(results: Results) -> None:
    console = Console()
    for head, rows, title in [
        (HEAD, [figure.row() for figure in results.figures], None),
        *((table.head, table.rows, table.title) for table in results.tables),
    ]:
        if rows:
            shown = Shown(*head, title=title)
            for row in rows:
                shown.add_row(*row)
            console.print(shown)
    for table in results.tables:
        console.print(table.said)


def write(results: Results) -> None:
    text = json.dumps(as_json(results), indent=2, ensure_ascii=False)
    (HERE / "results.json").write_text(text + "\n")
    (HERE.parent / "docs" / "benchmarks.md").write_text(page(results, machine()))


def main() -> None:
    told = "; ".join(f"{part}: {what}" for part, what in PARTS.items())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{told}. Without any: all.")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results = asyncio.run(measure(parts))
    show(results)
    if set(parts) == set(PARTS):
        write(results)


if __name__ == "__main__":
    main()
