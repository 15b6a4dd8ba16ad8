"""Which algorithm a name means where more than one project has one of it.

The project that is asked for comes first, then the libraries by their ids. Whatever is not found by its name is still
there by its id.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.caller import Caller
from shared.versions import AlgorithmEntry


def named(caller: Caller, entries: Iterable[AlgorithmEntry], name: str, major: str) -> AlgorithmEntry | None:
    """By its exact name, else without regard to case. None: there is none that the caller may use."""
    wanted = name.casefold(), major
    found = (one for one in entries if called(one) == wanted and caller.may_use(one.project))
    return min(found, key=lambda one: (_rank(caller, one.project), one.name != name, one.name), default=None)


def listed(caller: Caller, entries: Iterable[AlgorithmEntry]) -> list[AlgorithmEntry]:
    """The caller's own, and of libraries those that are found by their names; in the order given."""
    usable = [one for one in entries if caller.may_use(one.project)]
    first: dict[tuple[str, str], str] = {}
    for one in usable:
        first[called(one)] = min(first.get(called(one), one.project), one.project, key=lambda it: _rank(caller, it))
    return [one for one in usable if caller.owns(one.project) or first[called(one)] == one.project]


def called(entry: AlgorithmEntry) -> tuple[str, str]:
    """Its name, and which major version of that."""
    return entry.name.casefold(), entry.major


def _rank(caller: Caller, project: str) -> tuple[bool, bool, str]:
    return project != caller.project, not caller.owns(project), project
