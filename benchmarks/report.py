"""The page that one whole measurement writes, and its figures for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.figures import HEAD, Figure, Table


@dataclass(frozen=True)
class Results:
    figures: Sequence[Figure]
    tables: Sequence[Table] = field(default_factory=list)


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def as_json(results: Results) -> dict[str, Any]:
    figures = [figure.as_json() for figure in results.figures]
    return {
        "date": today(),
        "machine": machine(),
        "figures": figures,
        "tables": [asdict(table) for table in results.tables],
    }


def page(results: Results, where: str) -> str:
    """In Markdown."""
    tables = "\n".join(map(_section, results.tables))
    figures = _lines(HEAD, [figure.row() for figure in results.figures])
    return f"{HEADER.format(when=today(), where=where)}\n{tables}\n## All figures\n\n{figures}"


def _section(table: Table) -> str:
    return f"## {table.title}\n\n{_lines(table.head, table.rows)}\n{table.said}"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


HEADER = """# Benchmarks

Written by `make bench` on {when}: {where}. `make bench ARGS="cost peers"` measures some parts and writes nothing.

- **Embedded** is `voxloom up`: one server process and its runner processes.
- **RabbitMQ + S3** is a process for each service, one of each, with RabbitMQ and SeaweedFS. All of them share the
  cores of one machine with each other and with the client that makes the load. What more cores or machines give was
  not measured.
- Everything is warm, and speaks real HTTP. A **yardstick** was measured in the same run, on the same machine; it does
  the unavoidable part of the work and nothing else. On another machine, or a busy one, the figures are others: compare
  what stands in one line, or in one table.
"""
