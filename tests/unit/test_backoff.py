"""How long one waits who has failed."""

from __future__ import annotations

import pytest

from voxloom.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.1), (1, 0.2), (2, 0.4), (5, 3.2), (6, 5.0), (100, 5.0), (100_000, 5.0)]
)
def test_waits_grow_to_the_longest(failures: int, seconds: float) -> None:
    backoff = Backoff(0.1, 5.0)
    for _ in range(failures):
        backoff.next()

    assert backoff.next() == pytest.approx(seconds)


def test_after_a_success_they_are_short_again() -> None:
    backoff = Backoff(0.1, 5.0)
    backoff.next()
    backoff.reset()

    assert backoff.next() == 0.1
