"""What became of each bug, in a file; and two such files as one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.planted.bugs import AREAS, BUGS, Bug

TABLE = Path(__file__).with_name("table.md")

How = Literal["failed", "hangs", "not caught", "does not fit", "not run"]


@dataclass(frozen=True)
class Result:
    """`how` it was caught, if it was; `by` is the first test that failed, or why it was not run."""

    name: str
    area: str
    how: How
    by: str = ""
    seconds: float = 0.0

    @property
    def is_caught(self) -> bool:
        return self.how in ("failed", "hangs")

    @property
    def shown(self) -> str:
        match self.how:
            case "failed":
                return self.by
            case "not caught":
                return "NOT CAUGHT"
            case "hangs":
                return "hangs"
            case _:
                return f"{self.how}: {self.by}"

    def line(self) -> str:
        return f"{self.name}  {self.area}  {self.shown}  {self.seconds:.0f} s"


Results = Mapping[str, Result]


def save(path: Path, results: Results) -> None:
    path.write_text(json.dumps([asdict(one) for one in results.values()], indent=1) + "\n")


def load(path: Path) -> dict[str, Result]:
    return {one["name"]: Result(**one) for one in json.loads(path.read_text())}


def table(before: Results, after: Results) -> str:
    rows = [_row(number, bug, before, after) for number, bug in enumerate(BUGS, 1)]
    lines = [
        "# Planted bugs",
        "",
        "Each bug is put into the code alone, and the tests of its area are run: the first test that fails has caught "
        "it. `python -m tests.planted` does that.",
        "",
        "| | area | what is wrong | before: caught by | after: caught by |",
        "|---:|---|---|---|---|",
        *rows,
        "",
        *_totals(before, after),
    ]
    return "\n".join(lines) + "\n"


def _row(number: int, bug: Bug, before: Results, after: Results) -> str:
    wrong = f"{bug.name.replace('-', ' ')} (`{bug.file}`)"
    return f"| {number} | {bug.area} | {wrong} | {_cell(before, bug)} | {_cell(after, bug)} |"


def _cell(results: Results, bug: Bug) -> str:
    found = results.get(bug.name)
    if found is None:
        return "not run"
    # A parameter of a test may have a bar in it.
    shown = found.shown.removeprefix("tests/").replace("|", "\\|")
    return f"`{shown}`" if found.how == "failed" else shown


def _totals(before: Results, after: Results) -> list[str]:
    lines = ["| area | bugs | before: caught | after: caught |", "|---|---:|---:|---:|"]
    for area in (*AREAS, "all"):
        names = [bug.name for bug in BUGS if area in (bug.area, "all")]
        lines.append(f"| {area} | {len(names)} | {_count(before, names)} | {_count(after, names)} |")
    return lines


def _count(results: Results, names: list[str]) -> int:
    return sum(name in results and results[name].is_caught for name in names)
