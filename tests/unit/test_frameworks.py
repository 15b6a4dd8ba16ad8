"""The runner's hook for other frameworks: what one adds is within reach of algorithms."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voxloom import compat
from voxloom.runner import frameworks, importing
from voxloom.runner.frameworks import Framework


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a framework."""
    monkeypatch.setattr(frameworks, "_added", {})
    folder = tmp_path / "names"
    folder.mkdir()
    frameworks.add(Framework(str(folder), {"old_name": "the new one"}.get))
    yield folder
    importing.uninstall()


def test_its_names_come_behind_the_algorithms_own(added: Path, tmp_path: Path) -> None:
    algorithm = tmp_path / "algorithm"
    algorithm.mkdir()
    importing.install(algorithm)
    assert sys.path[:2] == [str(algorithm), str(added)]
    assert os.environ["PYTHONPATH"].split(os.pathsep)[:2] == [str(algorithm), str(added)]


def test_its_names_are_out_of_reach_again_with_the_algorithm(added: Path, tmp_path: Path) -> None:
    importing.install(tmp_path)
    importing.uninstall()
    assert str(added) not in [*sys.path, *os.environ["PYTHONPATH"].split(os.pathsep)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("old_name", "Thing has no 'old_name' here. Use the new one."), ("other", "Thing has no 'other' here.")],
)
def test_what_it_had_and_we_have_not_is_told_with_what_to_use_instead(added: Path, name: str, said: str) -> None:
    assert str(frameworks.gone("Thing", name)) == said


def test_a_process_that_imports_anything_of_ours_has_the_names_of_compox() -> None:
    code = "from voxloom.runner import frameworks; print(*frameworks.paths(), sep='\\n')"
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told.splitlines() == [str(compat.PATH)]
