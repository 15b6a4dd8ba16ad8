"""The page of all that was measured, each part with its day and machine, and its figures for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from benchmarks.figures import HEAD, Figure, Table

TITLES = {
    "cost": "Limits of what a run costs",
    "records": "Reading a record",
    "runs": "Runs, embedded",
    "cluster": "Runs, RabbitMQ + S3",
    "data": "Data, embedded",
    "lifecycle": "Starts and memory, embedded",
    "lists": "Lists, embedded",
    "shares": "Fair share of three projects, embedded",
}
"""Of the figures of a part, in the order of the page."""
FIRST = ("peers", "cost")
"""Parts that have tables of their own, which come before."""


@dataclass(frozen=True)
class Results:
    """Of one part."""

    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    others: float | None = None
    """The share of the cores that other programs took meanwhile; None: nobody looked."""
    where: str = field(default_factory=lambda: machine())
    day: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    pictures: Mapping[str, str] = field(default_factory=dict)
    """SVG by the name of its file beside the page."""


Parts = Mapping[str, Results]


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def as_json(parts: Parts) -> dict[str, Any]:
    return {
        name: {
            **{key: value for key, value in asdict(part).items() if key != "pictures"},
            "figures": [figure.as_json() for figure in part.figures],
        }
        for name, part in parts.items()
    }


def from_json(said: Mapping[str, Any]) -> dict[str, Results]:
    known = {one.name for one in fields(Figure)}
    return {
        name: Results(
            [Figure(**{key: value for key, value in figure.items() if key in known}) for figure in part["figures"]],
            [Table(**table) for table in part["tables"]],
            part.get("others"),
            part["where"],
            part["day"],
        )
        for name, part in said.items()
    }


def page(parts: Parts) -> str:
    """In Markdown."""
    told = [parts[name] for name in FIRST if name in parts]
    tables = [_section(table, part) for part in told for table in part.tables]
    figures = [
        _section(Table(title, HEAD, [figure.row() for figure in parts[name].figures]), parts[name])
        for name, title in TITLES.items()
        if name in parts and parts[name].figures
    ]
    return "\n".join([HEADER, *tables, *figures])


def _section(table: Table, part: Results) -> str:
    said = f"\n{table.said}" if table.said else ""
    busy = "" if part.others is None else f" Other programs took {part.others:.0%} of the cores meanwhile."
    return f"## {table.title}\n\nMeasured on {part.day}: {part.where}.{busy}\n\n{_lines(table.head, table.rows)}{said}"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


HEADER = """# Benchmarks

Written by `make bench`. `make bench ARGS="cost peers"` measures some parts and writes nothing; with `--page` it puts
them into this page, beside what was measured before.

- **Embedded** is `voxloom up`: one server process and its runner processes.
- **RabbitMQ + S3** is a process for each service, one of each, with RabbitMQ and SeaweedFS. All of them share the
  cores of one machine with each other and with the client that makes the load. What more cores or machines give was
  not measured.
- Everything is warm, and speaks real HTTP. A **yardstick** was measured in the same run, on the same machine; it does
  the unavoidable part of the work and nothing else. On another machine, or a busy one, the figures are others: compare
  what stands in one line, or in one table.
"""
