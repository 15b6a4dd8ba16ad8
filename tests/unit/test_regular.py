"""Reading a file of which nobody knows what has become."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from voxloom.regular import read_regular


def test_a_file_is_read_up_to_so_many_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert [read_regular(tmp_path / "x", most) for most in (3, 9)] == [b"123", b"12345"]


@pytest.mark.parametrize(
    "put",
    [lambda path: None, os.mkdir, os.mkfifo, lambda path: os.symlink(__file__, path)],
    ids=["nothing", "a folder", "a pipe", "a link"],
)
def test_what_is_no_file_is_none(tmp_path: Path, put: Callable[[Path], object]) -> None:
    put(tmp_path / "x")
    assert read_regular(tmp_path / "x", 9) is None
