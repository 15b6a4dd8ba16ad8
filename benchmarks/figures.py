"""One figure: what was measured, what it should reach, and the yardstick measured beside it in the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEAD = ["figure", "measured", "to reach", "reached", "yardstick in the same run", "ratio"]


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = True
    """Whether less is better."""
    yardstick: str = ""
    yardstick_value: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.yardstick_value if self.yardstick_value else None

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def row(self) -> list[str]:
        sign = "≤" if self.at_most else "≥"
        return [
            self.name,
            f"{number(self.value)} {self.unit}",
            f"{sign} {number(self.target)}" if self.target is not None else "–",
            {True: "yes", False: "no", None: ""}[self.reached],
            f"{self.yardstick}: {number(self.yardstick_value)} {self.unit}" if self.yardstick_value else "–",
            f"{self.ratio:.2f}" if self.ratio else "–",
        ]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "reached": self.reached}


@dataclass(frozen=True)
class Table:
    """Rows of text below a title; the first column names the row."""

    title: str
    head: list[str]
    rows: list[list[str]]
    said: str = ""
    """What it says in words, below it."""


def number(value: float | None) -> str:
    if value is None:
        return ""
    digits = max(0, 2 - int(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 3)}f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
