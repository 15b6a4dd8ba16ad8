"""What the disk is told to begin with early."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import pytest

from shared.objects.embedded import writeback
from shared.objects.embedded.writeback import Writeback, begin, sync_files

Range = tuple[int, int, int]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Range]:
    """Start, length and kind of all that the kernel is told, in units of a window; four windows may be on their way."""
    ranges: list[Range] = []

    def note(_: int, start: int, length: int, how: int) -> int:
        ranges.append((start // 10, length // 10, how))
        return 0

    monkeypatch.setattr(writeback, "WINDOW", 10)
    monkeypatch.setattr(writeback, "BEHIND", 40)
    monkeypatch.setattr(writeback, "_sync_file_range", note)
    return ranges


def test_whole_windows_are_begun_once_each(told: list[Range]) -> None:
    growing = Writeback(0)
    for size in (9, 1, 15, 4, 1):
        growing.grown_by(size)
    assert told == [(0, 1, 2), (1, 1, 2), (2, 1, 2)]


def test_what_is_too_far_behind_is_waited_for(told: list[Range]) -> None:
    Writeback(0).grown_by(60)
    assert [(start, how) for start, _, how in told] == [(0, 2), (1, 2), (2, 2), (3, 2), (4, 2), (0, 7), (5, 2), (1, 7)]


def test_a_file_of_any_size_can_be_written_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "WINDOW", 4096)
    monkeypatch.setattr(writeback, "BEHIND", 3 * 4096)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        growing = Writeback(file.fileno())
        for _ in range(50):
            growing.grown_by(file.write(b"x" * 1000))
        begin(file.fileno())
    assert (tmp_path / "file").stat().st_size == 50_000


def test_what_the_disk_could_not_take_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "_sync_file_range", lambda *_: -1)
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        begin(0)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_where_it_cannot_be_told_nothing_happens(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(writeback, "_sync_file_range", lambda *_: -1)
    monkeypatch.setattr(ctypes, "get_errno", lambda: number)
    begin(0)
    monkeypatch.setattr(writeback, "_sync_file_range", None)
    begin(0)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_files_are_synced_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    paths = [tmp_path / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    sync_files([str(path) for path in paths])
    assert sorted(synced) == sorted(path.stat().st_ino for path in paths)


def test_one_that_cannot_be_synced_among_many_is_an_error(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(100)]
    for path in paths[:-1]:
        path.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        sync_files([str(path) for path in paths])
