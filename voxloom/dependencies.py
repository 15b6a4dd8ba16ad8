"""What an algorithm's `[project] dependencies` ask for, and whether this Python has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

MOST = 1000
_NAMED = 20
_OURS = frozenset({"voxloom", "compox"})
"""These stand for what the server itself is."""


def installed_version(name: str) -> str | None:
    """The version of a distribution in this Python; None where it is not installed."""
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def lacking(dependencies: Sequence[str], version_of: Callable[[str], str | None] = installed_version) -> list[str]:
    """Each dependency that is not there, or in another version: `scikit-image>=0.25 (not installed)`."""
    found = (_fault(text, version_of) for text in dependencies[:MOST])
    return [fault for fault in found if fault is not None]


def warning(faults: Sequence[str]) -> str:
    """One sentence about all of them; "" where there are none."""
    if not faults:
        return ""
    return (
        f"the Python here lacks what [project] dependencies asks for: {_listed(faults)}; "
        "install it there, or the algorithm may fail"
    )


def _listed(faults: Iterable[str]) -> str:
    named = list(faults)
    left = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {left} more" if left > 0 else "")


def _fault(text: str, version_of: Callable[[str], str | None]) -> str | None:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return f"{text[:80]!r} (which is no requirement)"
    if canonicalize_name(wanted.name) in _OURS or (wanted.marker is not None and not wanted.marker.evaluate()):
        return None
    shown = f"{wanted.name}{wanted.specifier}"[:80]
    version = version_of(wanted.name)
    if version is None:
        return f"{shown} (not installed)"
    return None if wanted.specifier.contains(version, prereleases=True) else f"{shown} (it has {version})"
