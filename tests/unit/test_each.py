"""Tests that go through a table see every row, and say which ones fail."""

from __future__ import annotations

import inspect

import pytest

from tests.each import each


def test_all_rows_are_gone_through_and_those_that_fail_are_named() -> None:
    # Given a test of four rows, of which two fail
    seen = []

    @each("number", [1, 2, 3, 4])
    def test(number: int, limit: int) -> None:
        seen.append(number)
        assert number <= limit

    # When it runs, then all were tried, and the two are told
    with pytest.raises(ExceptionGroup, match="2 of 4 rows fail") as raised:
        test(limit=2)
    assert seen == [1, 2, 3, 4]
    assert [error.__notes__ for error in raised.value.exceptions] == [["number = 3"], ["number = 4"]]


async def test_coroutines_are_awaited() -> None:
    @each("number", [1])
    async def test(number: int) -> None:
        assert number == 2

    with pytest.raises(ExceptionGroup, match="1 of 1"):
        await test()


def test_pytest_gives_the_other_arguments_only() -> None:
    @each("number", [1])
    def test(number: int, tmp_path: object) -> None: ...

    assert list(inspect.signature(test).parameters) == ["tmp_path"]


def test_a_table_without_rows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no value for number"):
        each("number", [])
