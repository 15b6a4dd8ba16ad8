"""Other frameworks that algorithms were written for: a hook. Who brings the names of one adds it, before any algorithm
is loaded; this package knows none. `voxloom/__init__.py` sees to it that every process of ours has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Framework(NamedTuple):
    path: str
    """The folder that its names are imported from, behind the algorithm's own."""
    instead: Callable[[str], str | None]
    """What to use in place of a name that is not there, where that is known."""


_added: dict[str, Framework] = {}


def add(framework: Framework) -> None:
    _added[framework.path] = framework


def paths() -> list[str]:
    return list(_added)


def gone(where: str, name: str) -> AttributeError:
    """What to raise for a name that is not there; it says what to use instead, where that is known."""
    known = (instead for framework in _added.values() if (instead := framework.instead(name)) is not None)
    hint = "".join(f" Use {instead}." for instead in known)
    return AttributeError(f"{where} has no {name!r} here.{hint}")
