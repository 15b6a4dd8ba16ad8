"""What is told of JSON by its bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxloom.jsontext import is_deeper

VALUES = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\,a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@given(VALUES, st.integers(0, 6))
def test_brackets_in_strings_are_no_levels(value: Any, levels: int) -> None:
    assert is_deeper(json.dumps(value).encode(), levels) == (depth(value) > levels)


@pytest.mark.parametrize(("levels", "deeper"), [(199, True), (200, False)])
def test_the_last_level_that_is_allowed_is_allowed(levels: int, deeper: bool) -> None:
    assert is_deeper(b"[" * 200 + b"]" * 200, levels) == deeper
