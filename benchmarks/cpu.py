"""CPU time by process, as /proc counts it: whose it was, of a tree of processes for each service."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.cputime import TICKS, Seen, stat_of

Processes = Mapping[int, Seen]
"""All that live, by pid."""


@dataclass(frozen=True)
class Root:
    """A process to watch, under the name that its time is told by."""

    name: str
    pid: int
    below: str = ""
    """The name for the processes that it has started, ended ones included; usually the same."""


@dataclass(frozen=True)
class Busy:
    """How much the machine's cores have done, and how much of it for this process and all below it; in seconds."""

    at: float
    all: float
    ours: float

    @classmethod
    def now(cls) -> Busy:
        with open("/proc/stat") as file:
            ticks = file.readline()
        ours = seconds(processes(), [Root("ours", os.getpid())])["ours"]
        return cls(time.monotonic(), worked(ticks), ours)


def worked(line: str) -> float:
    """Seconds of all cores that were not idle, from the first line of /proc/stat."""
    user, nice, system, _idle, _waiting, irq, soft, stolen, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + soft + stolen) / TICKS


def of_others(before: Busy, after: Busy, cores: int) -> float:
    """The share of the cores that other programs took between two looks."""
    spent = (after.all - before.all) - (after.ours - before.ours)
    return max(0.0, spent / ((after.at - before.at) * cores))


def processes() -> dict[int, Seen]:
    found = ((pid, stat_of(pid)) for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))))
    return {pid: stat[1] for pid, stat in found if stat is not None}


def seconds(living: Processes, roots: Iterable[Root]) -> dict[str, float]:
    """CPU seconds so far. Those of an ended child are with whoever has waited for it: its nearest living ancestor."""
    spent: defaultdict[str, float] = defaultdict(float)
    for root in roots:
        below = root.below or root.name
        seen = living[root.pid]
        spent[root.name] += seen.own
        spent[below] += seen.children + sum(one.own + one.children for one in _below(living, root.pid))
    return spent


def _below(living: Processes, root: int) -> Iterator[Seen]:
    for pid, seen in living.items():
        if seen.parent == root:
            yield seen
            yield from _below(living, pid)


def per_run(before: Mapping[str, float], after: Mapping[str, float], runs: int) -> dict[str, float]:
    """What each name stands for has used between two looks, for each of the runs, in ms."""
    return {name: (value - before.get(name, 0.0)) / runs * 1e3 for name, value in after.items()}
