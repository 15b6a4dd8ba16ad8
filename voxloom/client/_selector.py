"""Which algorithm a caller means: `name`, `name:major`, `name:major.minor`, an id, or a record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import is_id
from voxloom.models import AlgorithmRecord

_VERSIONED = re.compile(r"(?P<name>.+?)(?::(?P<major>\d+)(?:\.(?P<minor>\d+))?)?")


@dataclass(frozen=True)
class Selector:
    name: str | None = None
    major: str | None = None
    minor: str | None = None
    algorithm_id: str | None = None


def parse_selector(text: str) -> Selector:
    text = text.strip()
    if is_id(text):
        return Selector(algorithm_id=text)
    found = _VERSIONED.fullmatch(text)
    if found is None:
        raise InvalidInput("The algorithm has no name; write NAME, NAME:MAJOR or NAME:MAJOR.MINOR.")
    return Selector(found["name"], found["major"], found["minor"])


def select(selector: Selector, algorithms: Sequence[AlgorithmRecord]) -> AlgorithmRecord:
    """The algorithm of that id, or the highest major version of that name (exact case first). Raises NotFound."""
    if selector.algorithm_id is not None:
        named = [one for one in algorithms if one.algorithm_id == selector.algorithm_id]
    else:
        named = _named(selector.name or "", algorithms)
    if not named:
        raise NotFound(_unknown(selector, algorithms), code="algorithm_not_found")
    if selector.major is not None:
        return _of_major(selector, named)
    return max(named, key=lambda one: int(one.algorithm_version))


def _of_major(selector: Selector, named: Sequence[AlgorithmRecord]) -> AlgorithmRecord:
    for one in named:
        if one.algorithm_version == selector.major:
            return one
    known = ", ".join(sorted((one.algorithm_version for one in named), key=int))
    raise NotFound(
        f"{selector.name} has no major version {selector.major}; it has {known}.", code="algorithm_not_found"
    )


def _named(name: str, algorithms: Sequence[AlgorithmRecord]) -> list[AlgorithmRecord]:
    exact = [one for one in algorithms if one.algorithm_name == name]
    return exact or [one for one in algorithms if one.algorithm_name.casefold() == name.casefold()]


def _unknown(selector: Selector, algorithms: Sequence[AlgorithmRecord]) -> str:
    wanted = selector.name or selector.algorithm_id
    if not algorithms:
        return f"There is no algorithm {wanted!r}: nothing is deployed yet. Deploy one with `voxloom deploy FOLDER`."
    known = ", ".join(sorted({one.algorithm_name for one in algorithms})[:20])
    return f"There is no algorithm {wanted!r}; deployed are: {known}."
