"""What people may type for limits and retention, and what they are told else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tests.each import each
from voxloom.cli import limits, retention
from voxloom.cli.limits import read
from voxloom.errors import InvalidInput
from voxloom.models import LimitsRequest, RetentionRequest

Parse = Callable[[str], Any]
PARSERS: tuple[Parse, ...] = (
    limits._number,
    limits._weight,
    limits._size,
    limits._seconds,
    retention._days,
)


@each("parse", PARSERS)
def test_what_is_no_amount_is_refused_with_what_would_be(parse: Parse) -> None:
    for text in ("nan", "inf", "-inf", "-1", "0", "1e400", "", "many", "1 2", "\u0663"):
        with pytest.raises(InvalidInput, match=r"--it takes .*, or `none`"):
            read("--it", text, parse)


@each("parse", PARSERS)
def test_none_takes_each_of_them_away(parse: Parse) -> None:
    assert [read("--it", text, parse) for text in ("none", " None ")] == [[None], [None]]


@pytest.mark.parametrize(
    ("parse", "text", "meant"),
    [
        (limits._number, "4", 4),
        (limits._weight, "0.5", 0.5),
        (limits._weight, "1000", 1000.0),
        (limits._size, "1.5kB", 1500),
        (limits._seconds, "2h", 7200.0),
        (retention._days, "2.5", 2.5),
        (retention._days, "36500", 36_500.0),
    ],
)
def test_what_is_meant(parse: Parse, text: str, meant: float) -> None:
    assert read("--it", text, parse) == [meant]


@each("weight", [limits.LEAST_WEIGHT, limits.MOST_WEIGHT])
def test_the_server_takes_the_least_and_the_most_weight_and_no_other(weight: float) -> None:
    assert LimitsRequest(weight=weight).weight == weight
    with pytest.raises(ValidationError):
        LimitsRequest(weight=weight * (2 if weight > 1 else 0.5))


@each("days", [retention.LEAST_DAYS, retention.MOST_DAYS])
def test_the_server_takes_the_least_and_the_most_days_and_no_other(days: float) -> None:
    assert RetentionRequest(file_days=days).file_days == days
    with pytest.raises(ValidationError):
        RetentionRequest(file_days=days * (2 if days > 1 else 0.5))


def test_no_weight_is_the_one_that_projects_begin_with() -> None:
    assert LimitsRequest().weight == limits.DEFAULT_WEIGHT
