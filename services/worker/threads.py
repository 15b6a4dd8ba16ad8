"""How many threads one run may have: libraries take every core there is, each of as many runs as there are slots."""

from __future__ import annotations

from collections.abc import Mapping

from shared.environment import THREADS

ALL_CORES = 0
"""What an algorithm asks for that wants every core there is."""


def share(cores: int, slots: int) -> int:
    """Threads of a run that does not say how many it wants."""
    return max(1, cores // slots)


def wanted(threads: int, cores: int) -> int:
    """Threads of a run whose algorithm says how many."""
    return cores if threads == ALL_CORES else min(threads, cores)


def variables(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """What to set where the server's environment does not say it; all libraries follow its OMP_NUM_THREADS."""
    told = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    count = told if told.isascii() and told.isdigit() and int(told) > 0 else str(threads)
    return {name: count for name in THREADS if name not in environment}
