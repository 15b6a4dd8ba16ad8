"""What was meant by a name that is not known."""

from __future__ import annotations

import pytest

from voxloom.nearest import hint, nearest

KNOWN = ["sigma", "threshold", "Max_iterations"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sigme", "sigma"),
        ("SIGMA", "sigma"),
        ("treshhold", "threshold"),
        ("max-iterations", "Max_iterations"),
        ("zzz", None),
        ("", None),
        ("sigma" * 100_000, None),
    ],
)
def test_the_nearest_name_is_found_where_one_is_near(name: str, expected: str | None) -> None:
    assert nearest(name, KNOWN) == expected


def test_a_hint_is_part_of_a_sentence() -> None:
    assert (hint("sigme", KNOWN), hint("zzz", KNOWN)) == (" (did you mean 'sigma'?)", "")
