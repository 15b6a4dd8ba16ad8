"""Limits of runs, as people write them: `[tool.voxloom.limits]` and settings."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|m|min|h|d|)\s*", re.ASCII)
LONGEST_SECS = 366 * 86400.0
HOW = 'write seconds, or a text like "90 s", "10m", "2h"; more than 0, and a year at most'


class Limits(NamedTuple):
    """None: no limit."""

    wall_time: float | None = None
    """Seconds that one attempt at a run may take, from the start of its code on."""


KNOWN = frozenset(Limits._fields)


def parse_duration(value: Any) -> float | None:
    """Seconds; None where it is no time that a limit can have."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        seconds = float(found[1]) * _UNITS[found[2]] if found else math.nan
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) <= LONGEST_SECS else math.nan
    else:
        return None
    return seconds if 0 < seconds <= LONGEST_SECS else None


def read_limits(section: Any) -> tuple[Limits, list[str], list[str]]:
    """The limits that a manifest names, what is wrong with them, and what is odd."""
    if not isinstance(section, dict):
        return Limits(), [f"limits is {section!r}; it must be a section"], []
    odd = [f"the key limits.{key!r} is not known and was ignored" for key in sorted(section.keys() - KNOWN)]
    if "wall_time" not in section:
        return Limits(), [], odd
    seconds = parse_duration(section["wall_time"])
    wrong = [f"limits.wall_time is {section['wall_time']!r}; {HOW}"] if seconds is None else []
    return Limits(seconds), wrong, odd


def narrower(*limits: float | None) -> float | None:
    """The smallest of those that there are."""
    return min((one for one in limits if one is not None), default=None)
