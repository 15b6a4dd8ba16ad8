"""The clock that expiry goes by."""

from __future__ import annotations

import pytest

from shared.expiry import DAY, ExpiryClock, begun_at


@pytest.mark.parametrize(
    ("kept", "newest", "wall", "shows"),
    [
        (None, None, 100.0, 100.0),
        (1000.0, None, 1500.0, 1500.0),
        (1000.0, None, 1000.0 + 400 * DAY, 1000.0 + DAY),
        (1000.0, None, 5.0, 1000.0),
        (1000.0, 9 * DAY, 1500.0, 1500.0),
        (None, 1000.0, 1000.0 + 400 * DAY, 1000.0 + DAY),
        (None, 1000.0, 1500.0, 1500.0),
    ],
)
def test_a_start_moves_the_clock_by_a_day_at_most_and_never_back(
    kept: float | None, newest: float | None, wall: float, shows: float
) -> None:
    assert begun_at(kept, newest, wall) == shows


def test_the_clock_runs_on_by_itself() -> None:
    passed = 0.0
    clock = ExpiryClock(1000.0, lambda: passed)
    passed = 5.0
    assert clock.now() == 1005.0
