"""How many cores this process may use: what the system has, less what it is kept from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """At least 1. Blocks for a moment."""
    return max(1, min([_allowed(), *_quotas(_own_cgroup())]))


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_cgroup() -> Path:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return _CGROUPS
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    return _CGROUPS / own


def _quotas(group: Path) -> Iterator[int]:
    """Of a container or a systemd unit, and of all that it lies in."""
    for folder in (group, *group.parents):
        try:
            cores = quota((folder / "cpu.max").read_text())
        except OSError:
            cores = None
        if cores is not None:
            yield cores


def quota(told: str) -> int | None:
    """What a `cpu.max` means in whole cores: "150000 100000" is two; None: no limit."""
    most, _, period = told.partition(" ")
    try:
        return max(1, math.ceil(int(most) / int(period)))
    except ValueError:
        return None
