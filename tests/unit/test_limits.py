"""Limits as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.given import Given
from voxloom.errors import InvalidInput
from voxloom.limits import LONGEST_SECS, narrower, parse_duration
from voxloom.manifest import parse_manifest


def pyproject(limits: str) -> bytes:
    return f'[project]\nname = "a"\nversion = "1.0"\n[tool.voxloom]\ndescription = "d"\ntags = ["t"]\n{limits}'.encode()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (600, 600.0),
        (0.5, 0.5),
        ("600", 600.0),
        ("90 s", 90.0),
        ("10m", 600.0),
        ("1.5 min", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("366d", LONGEST_SECS),
        ("367d", None),
        (0, None),
        ("0", None),
        (-1, None),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ("soon", None),
        ("10 weeks", None),
        ("١٠", None),
        ("1e9", None),
        ("9" * 5000, None),
        (["10m"], None),
        (None, None),
    ],
)
def test_a_time_is_read_as_it_is_written(written: Any, seconds: float | None) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("limits", "narrowest"), [((None, None), None), ((5.0, None), 5.0), ((None, 3.0), 3.0), ((5.0, 3.0), 3.0)]
)
def test_the_narrower_limit_wins(limits: tuple[float | None, ...], narrowest: float | None) -> None:
    assert narrower(*limits) == narrowest


def test_a_manifest_may_name_a_wall_time() -> None:
    manifest = parse_manifest(pyproject('[tool.voxloom.limits]\nwall_time = "10m"\n'), ["Runner.py"])
    assert (manifest.wall_time, manifest.warnings) == (600.0, [])
    assert parse_manifest(pyproject(""), ["Runner.py"]).wall_time is None


@pytest.mark.parametrize(
    ("limits", "says"),
    [('[tool.voxloom.limits]\nwall_time = "soon"\n', "limits.wall_time is 'soon'"), ("limits = 3\n", "limits is 3")],
)
def test_a_limit_that_is_none_is_refused_with_how_to_write_it(limits: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_manifest(pyproject(limits), ["Runner.py"])


def test_a_limit_that_is_not_known_is_odd() -> None:
    (warning,) = parse_manifest(pyproject("[tool.voxloom.limits]\nwal_time = 1\n"), ["Runner.py"]).warnings
    assert "limits.'wal_time' is not known" in warning


def test_the_setting_is_written_alike() -> None:
    assert Given(max_wall_time="2h").max_wall_time == 7200.0
    with pytest.raises(ValueError, match="write seconds"):
        Given(max_wall_time="soon")
