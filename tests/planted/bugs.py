"""The table of all bugs, area by area."""

from __future__ import annotations

from tests.planted.bug import Bug
from tests.planted.bugs_adapters import ADAPTERS
from tests.planted.bugs_control import CONTROL
from tests.planted.bugs_edges import EDGES

__all__ = ["AREAS", "BUGS", "Bug"]

BUGS: tuple[Bug, ...] = (*CONTROL, *ADAPTERS, *EDGES)
AREAS: tuple[str, ...] = tuple(dict.fromkeys(bug.area for bug in BUGS))
