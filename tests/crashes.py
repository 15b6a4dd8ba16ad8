"""What a crash leaves of a folder that a process is writing to."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path

LONGEST_SECS = 60.0


def as_after_a_crash(folder: Path, copy: Path) -> None:
    """Makes `copy`, in which all files are of one moment: files are copied one after the other, and a database whose
    log was copied before a commit and its seal after it is one that no crash leaves behind.

    It is copied until two copies are the same. An index of a log (`-shm`) says nothing that lasts, so it may differ.
    """
    deadline = time.monotonic() + LONGEST_SECS
    before = None
    for n in itertools.count():
        now = copy.with_name(f"{copy.name}.{n}")
        try:
            shutil.copytree(folder, now)
        except shutil.Error:  # Somebody has removed a file meanwhile.
            shutil.rmtree(now)
            continue
        if before is not None:
            same = _contents(before) == _contents(now)
            shutil.rmtree(before)
            if same:
                now.rename(copy)
                return
        assert time.monotonic() < deadline, f"{folder} is never the same twice"
        before = now


def _contents(folder: Path) -> dict[Path, bytes | None]:
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith("-shm")
    }
