"""The planted bugs fit the code as it is: each would be planted once, and makes no rubbish."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.planted.bugs import AREAS, BUGS, Bug

ROOT = Path(__file__).parents[2]


def test_there_are_forty_with_five_in_each_area() -> None:
    assert len({bug.name for bug in BUGS}) == 40
    assert Counter(bug.area for bug in BUGS) == dict.fromkeys(AREAS, 5)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_once_and_makes_good_python(bug: Bug) -> None:
    source = (ROOT / bug.file).read_text()

    planted = bug.planted_in(source)

    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("area", AREAS)
def test_the_tests_of_an_area_are_there(area: str) -> None:
    wanted = {pattern for bug in BUGS if bug.area == area for pattern in bug.tests}
    assert [pattern for pattern in sorted(wanted) if not any(ROOT.glob(pattern))] == []
