"""Which files are near their end, and which `voxloom rm files` leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.operations.keeping import later
from services.gateway.routes.file_lists import made_before_to_go
from tests.each import each
from voxloom.cli.file_removal import KEPT, Choice, why_left
from voxloom.errors import InvalidInput
from voxloom.filemodels import FileRecord

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("within", "days", "made_before"),
    [
        (2.0, 7.0, NOW - timedelta(days=5)),
        (7.0, 7.0, None),
        (100.0, 7.0, None),
        (None, 7.0, None),
        (2.0, None, None),
        (2.0, 1e9, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_before_when_a_file_was_made_that_goes_soon(
    within: float | None, days: float | None, made_before: datetime | None
) -> None:
    assert made_before_to_go(within, days, NOW) == made_before


def test_what_goes_after_all_time_never_goes() -> None:
    assert later(NOW, 1e9) is None
    assert str(later(NOW, 1)).startswith("2026-02-01")


def record(**facts: Any) -> FileRecord:
    given = {"file_id": "f", "size_bytes": 1, "etag": "e", "time_created": "2026-01-01T00:00:00.000Z"}
    return FileRecord(**{**given, "kind": "upload", "project": "p", "state": "available", "sample_ids": [], **facts})


@pytest.mark.parametrize(
    ("facts", "also_kept", "left"),
    [
        ({}, False, False),
        ({"kept": True}, False, True),
        ({"kept": True}, True, False),
        ({"sample_ids": ["s"]}, True, True),
    ],
)
def test_what_is_kept_or_in_use_is_left(facts: dict[str, Any], also_kept: bool, left: bool) -> None:
    assert (why_left(record(**facts), also_kept=also_kept) is not None) is left


def test_what_is_kept_is_left_with_what_to_do() -> None:
    assert why_left(record(kept=True), also_kept=False) == KEPT


@each(
    "choice",
    [
        Choice(["a"], 2.0, None),
        Choice(["a"], None, 2.0),
        Choice([], float("nan"), None),
        Choice([], None, float("inf")),
        Choice([], None, 1e9),
        Choice(["a"], None, None, minor=1),
    ],
)
def test_a_choice_that_means_nothing_is_refused(choice: Choice) -> None:
    with pytest.raises(InvalidInput):
        choice.check()
