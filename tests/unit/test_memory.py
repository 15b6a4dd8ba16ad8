"""Buffers that come and go, and imports that stay, each in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CHURN = """
import resource, sys
from shared.memory import keep_buffers

if sys.argv[1] == "kept":
    keep_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(300):
    pieces = [bytes(300_000) for _ in range(4)]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", CHURN, how], capture_output=True, check=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it tunes the GNU C library")
def test_buffers_that_are_kept_need_no_new_pages() -> None:
    assert page_faults("kept") < 2000 < page_faults("given back")


def test_the_collector_does_not_look_at_what_was_imported() -> None:
    code = "import gc, shared.memory; shared.memory.keep_imports(); print(len(gc.get_objects()), gc.get_freeze_count())"
    looked_at, kept = map(int, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert looked_at < 100 < 1000 < kept
