"""Processes that share a folder get numbers of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared import process_numbers
from voxloom.errors import Misconfigured


def test_every_process_gets_the_lowest_free_number(tmp_path: Path) -> None:
    taken = [process_numbers.take(tmp_path / "seats") for _ in range(3)]
    assert [seat.number for seat in taken] == [1, 2, 3]
    for seat in taken:
        seat.leave()


def test_a_number_that_was_left_is_given_again(tmp_path: Path) -> None:
    first, second = process_numbers.take(tmp_path), process_numbers.take(tmp_path)
    first.leave()
    third = process_numbers.take(tmp_path)
    assert third.number == 1
    second.leave()
    third.leave()


def test_a_process_that_died_has_left_its_number(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from shared import process_numbers; "
        "process_numbers.take(Path(sys.argv[1])); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=120)
    seat = process_numbers.take(tmp_path)
    assert seat.number == 1
    seat.leave()


def test_a_folder_that_cannot_be_used_is_one_sentence() -> None:
    with pytest.raises(Misconfigured, match=r"/proc/voxloom cannot be used .*--data"):
        process_numbers.take(Path("/proc/voxloom"))
