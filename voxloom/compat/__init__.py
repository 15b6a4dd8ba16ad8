"""Algorithms written for Compox run as they are: here is where the names that they import come from.

In runner processes, their children and `voxloom.testing` they are there by themselves. In a shell of your own,
`python -m voxloom.compat Runner.py` runs a file with them, and `voxloom.compat.install()` puts them into reach.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from voxloom.runner import frameworks

PATH = Path(__file__).parent / "path"
"""The folder to import `compox` from."""


def install() -> None:
    """Makes `import compox` work in this process and those that it starts, before an installed package of that name."""
    place = str(PATH)
    if place not in sys.path:
        sys.path.insert(0, place)
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != place]
    os.environ["PYTHONPATH"] = os.pathsep.join([place, *others])


def _instead(name: str) -> str | None:
    from voxloom.compat.absent import INSTEAD

    return INSTEAD.get(name)


frameworks.add(frameworks.Framework(str(PATH), _instead))
