"""`python -m benchmarks [PART...]`: measures and prints tables. A run of all parts also writes results.json and
docs/benchmarks.md; with `--page` any run does."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks import cluster, cost, data, lifecycle, lists, records, report, runs, shares
from benchmarks.cpu import Busy, of_others
from benchmarks.figures import HEAD, Table
from benchmarks.peers import comparison
from benchmarks.peers import measure as peers
from benchmarks.report import Results
from benchmarks.system import System

RESULTS = Path(__file__).with_name("results.json")
WIDTH = 160
"""Characters in a line that goes into a file."""
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = {
    "runs": "how long runs and stops take",
    "data": "bytes in and out, and runs on them",
    "lifecycle": "starts, memory, a kill",
    "lists": "pages of 100,000 executions",
    "cluster": "runs and stops on RabbitMQ + S3",
    "records": "reading a record, on both footings",
    "cost": "CPU time, messages and writes for a run, with 1 to 3 gateways",
    "shares": "what three projects get of the workers' time, with a picture",
    "peers": "Celery, taskiq, dramatiq and Compox beside ours",
}


async def measure(parts: list[str]) -> AsyncIterator[tuple[str, Results]]:
    """One part after the other, as soon as it is measured."""
    if "runs" in parts:
        async with System(grace=1.0) as system:
            yield "runs", Results(await runs.measure(system))
    if "data" in parts:
        async with System() as system:
            yield "data", Results(await data.measure(system))
    for name, module in (("lifecycle", lifecycle), ("lists", lists), ("cluster", cluster), ("records", records)):
        if name in parts:
            yield name, Results(await module.measure())
    if "shares" in parts:
        yield "shares", await shares.measure()
    if {"cost", "peers"} & set(parts):
        costs = await cost.measure(3 if "cost" in parts else 1)
        if "cost" in parts:
            yield "cost", Results(cost.figures(costs), [cost.table(costs)])
        if "peers" in parts:
            rows = [*comparison.ours(costs), *await peers.measure()]
            yield "peers", Results(tables=[comparison.table(rows)])


def show(part: Results) -> None:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    figures = Table("", HEAD, [figure.row() for figure in part.figures])
    for table in (figures, *part.tables):
        if table.rows:
            shown = Shown(*table.head, title=table.title)
            for row in table.rows:
                shown.add_row(*row)
            console.print(shown)
            console.print(table.said)
    if part.others is not None:
        console.print(f"Other programs took {part.others:.0%} of the cores meanwhile.")


def write(name: str, part: Results) -> None:
    """Beside what was measured before."""
    before = report.from_json(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(report.as_json({**before, name: part}), indent=2, ensure_ascii=False) + "\n")
    for file, picture in part.pictures.items():
        PAGE.with_name(file).write_text(picture)


async def run(parts: list[str], *, page: bool) -> None:
    before = Busy.now()
    async for name, measured in measure(parts):
        after = Busy.now()
        part = replace(measured, others=of_others(before, after, os.cpu_count() or 1))
        before = after
        show(part)
        if page:
            write(name, part)
    if page:
        PAGE.write_text(report.page(report.from_json(json.loads(RESULTS.read_text()))))


def main() -> None:
    told = "; ".join(f"{part}: {what}" for part, what in PARTS.items())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{told}. Without any: all.")
    parser.add_argument("--page", action="store_true", help="write what was measured into docs/benchmarks.md")
    given = parser.parse_args()
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    asyncio.run(run(given.parts or list(PARTS), page=given.page or not given.parts))


if __name__ == "__main__":
    main()
