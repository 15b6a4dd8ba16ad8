"""The figures of `--cpu-times` add up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.cputime import UNSEEN, Seen, Watch, by_kind, kind_of

PYTEST = "python -m pytest"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("python -m voxloom serve gateway [python]", "services"),
        ("python -m voxloom ls [python]", "commands"),
        ("python -P -m voxloom.runner.host 5 [python]", "runner processes and checks of algorithms"),
        ("/usr/lib/erlang/bin/beam.smp -W w [beam.smp]", "brokers"),
        ("sleep 5 [sleep]", "others"),
    ],
)
def test_a_command_tells_the_kind(command: str, kind: str) -> None:
    assert kind_of(command) == kind


def test_what_was_seen_of_a_child_is_counted_once() -> None:
    # Given a parent that knows of 5 s of ended children, 3 s of which were seen as a service's
    processes = {(1, "a"): Seen(0, PYTEST, 10.0, 5.0), (2, "b"): Seen(1, "voxloom serve", 2.0, 1.0)}
    # Then the child's own child and the rest were too short to be seen
    assert by_kind(processes) == {"pytest": 10.0, "services": 2.0, UNSEEN: 3.0}


def test_living_children_are_nobodys_yet() -> None:
    processes = {(1, "a"): Seen(0, PYTEST, 10.0, 0.0), (2, "b"): Seen(1, "voxloom serve", 2.0, 0.0)}
    assert by_kind(processes)[UNSEEN] == 0.0


def test_a_process_that_comes_from_ours_is_seen() -> None:
    watch = Watch(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        watch.look()
        assert child.pid in {pid for pid, _ in watch.processes}
        assert child.stdin is not None
        child.stdin.close()
