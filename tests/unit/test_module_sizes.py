"""No module grows past what one can keep in mind: who comes to the limit splits it by what it is about."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
PACKAGES = ("voxloom", "messages", "shared", "services", "algorithms", "benchmarks")
"""Not the tests: those are lists of sentences, which may be long."""

EXCEPTIONS: dict[str, str] = {}
"""Paths of modules that may be longer, each with the reason: one that is generated, say."""


def modules() -> list[str]:
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def lines(module: str) -> int:
    return len((ROOT / module).read_text().splitlines())


def test_there_are_modules_of_every_package() -> None:
    assert {module.partition("/")[0] for module in modules()} == set(PACKAGES)


def test_no_module_is_too_long() -> None:
    long = {module: lines(module) for module in modules() if module not in EXCEPTIONS}
    assert {module: count for module, count in long.items() if count > MOST_LINES} == {}


def test_no_exception_is_made_that_is_not_needed() -> None:
    assert [module for module in EXCEPTIONS if lines(module) <= MOST_LINES] == []
