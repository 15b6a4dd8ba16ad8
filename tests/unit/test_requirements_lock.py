"""The lock and pyproject.toml agree; checked without a package index. `make lock` mends what fails here."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.each import each

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def _locked() -> dict[str, list[Requirement]]:
    locked: dict[str, list[Requirement]] = {}
    for line in LOCK.splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            locked.setdefault(canonicalize_name(pin.name), []).append(pin)
    return locked


def _wanted() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]


@each("requirement", _wanted())
def test_every_dependency_is_locked_at_versions_that_pyproject_allows(requirement: str) -> None:
    wanted = Requirement(requirement)
    pins = _locked().get(canonicalize_name(wanted.name), [])
    versions = [specifier.version for pin in pins for specifier in pin.specifier]
    assert versions
    assert all(wanted.specifier.contains(version) for version in versions)


@pytest.mark.parametrize("foreign", ["--", "://", " @ ", "/"])
def test_the_lock_names_no_index_and_no_machine(foreign: str) -> None:
    pins = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert not [line for line in pins if foreign in line]
