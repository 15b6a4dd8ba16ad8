"""Which bytes a conditional or partial GET is for."""

from __future__ import annotations

import pytest

from shared.ranges import NotModified, Part, Selection, Unsatisfiable, Whole, select


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("bytes=0-9", Part(0, 10)),
        ("bytes=90-", Part(90, 100)),
        ("bytes=90-500", Part(90, 100)),
        ("bytes=-10", Part(90, 100)),
        ("bytes=-500", Part(0, 100)),
        ("bytes=99-99", Part(99, 100)),
        ("Bytes = 0 - 0", Part(0, 1)),
        ("bytes=100-", Unsatisfiable()),
        ("bytes=-0", Unsatisfiable()),
        ("bytes=9-1", Whole()),
        ("bytes=-", Whole()),
        ("bytes=0-1,3-4", Whole()),
        ("lines=0-1", Whole()),
        ("bytes=٣-", Whole()),
        ("bytes=a-b", Whole()),
        ("bytes=+1-2", Whole()),
        ("bytes=1", Whole()),
        ("bytes=0-" + "9" * 30, Whole()),
        ("bytes=" + "9" * 40 + "-", Whole()),
    ],
)
def test_a_range_selects_bytes(text: str, selection: Selection) -> None:
    assert select({"Range": text}, 100, "tag") == selection


def test_an_empty_object_has_no_part() -> None:
    assert select({"Range": "bytes=0-"}, 0, "tag") == Unsatisfiable()
    assert select({}, 0, "tag") == Whole()


@pytest.mark.parametrize("condition", ['"tag"', 'W/"tag"', '"other", "tag"', "*"])
def test_who_has_it_already_gets_nothing(condition: str) -> None:
    assert select({"If-None-Match": condition}, 100, "tag") == NotModified()


def test_a_range_of_another_version_gives_the_whole() -> None:
    assert select({"Range": "bytes=0-1", "If-Range": '"old"'}, 100, "tag") == Whole()
    assert select({"Range": "bytes=0-1", "If-Range": '"tag"'}, 100, "tag") == Part(0, 2)
