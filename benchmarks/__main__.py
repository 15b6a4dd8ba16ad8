"""`python -m benchmarks`: measures everything, prints a table, writes results.json and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import cluster, data, lifecycle, lists, runs
from benchmarks.figures import Figure
from benchmarks.system import System

HERE = Path(__file__).parent
PARTS = ["runs", "data", "lifecycle", "lists", "cluster"]
HEAD = ["figure", "measured", "to reach", "reached", "yardstick in the same run", "ratio"]


async def measure(parts: list[str]) -> list[Figure]:
    figures: list[Figure] = []
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
    return figures


def show(figures: list[Figure]) -> None:
    table = Table(*HEAD)
    for figure in figures:
        table.add_row(*figure.row())
    Console().print(table)


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def write(figures: list[Figure], folder: Path) -> None:
    when = datetime.now(UTC).date().isoformat()
    results: dict[str, Any] = {"date": when, "machine": machine(), "figures": [figure.as_json() for figure in figures]}
    (HERE / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    rows = "\n".join(f"| {' | '.join(figure.row())} |" for figure in figures)
    (folder / "benchmarks.md").write_text(
        f"""# Benchmarks

Written by `make bench`. The whole system on the embedded footing: one server process, real runner processes, real HTTP,
warm where it says nothing else. Where it says RabbitMQ + S3: a process per service, one of each, RabbitMQ, and a small
S3 server in Python, all of which share the machine's cores with the load; what more cores or machines give was not
measured. Measured on {when}: {machine()}. A yardstick is measured in the same run, on the same machine, and does
nothing but the unavoidable part of the work.

| {" | ".join(HEAD)} |
|{"---|" * len(HEAD)}
{rows}
"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.parts))
    show(figures)
    if set(arguments.parts) == set(PARTS):
        write(figures, HERE.parent / "docs")


if __name__ == "__main__":
    main()
