"""Fork servers that begin quickly: forked from one that the process of the tests has, and else like any other.

Each system and each test has a fork server of its own, which would spend most of its time on imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from shared.environment import scrubbed
from shared.forkserver import IDLE_SECS, Line, begin
from voxloom.runner.forkserver import FAILED, FILE

USUAL = Line.open

OWN = "TESTS_FORK_FOR_THEMSELVES"
"""With this in its environment, a process of the nursery has a fork server that is its child, as outside the tests."""

RUN_SECS = 1e6
"""Longer than any run of the tests."""


def ask(template: socket.socket, message: object, files: Sequence[int]) -> int:
    """What the process at the other end answers: a number, on the first of the files that it gets."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(template, [json.dumps(message).encode()], [theirs.fileno(), *files])
        ours.settimeout(60.0)
        answer = ours.recv(4096)
    assert answer
    assert not answer.startswith(FAILED), answer
    return int(answer)


class Template:
    """It ends with the process that has made it."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = begin(theirs.fileno(), scrubbed(os.environ), idle=RUN_SECS, adopts=False)

    def open(self, environment: Mapping[str, str]) -> Line:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wish = {
            "main": "forkserver",
            "arguments": [FILE, str(IDLE_SECS)],
            "environment": dict(environment),
            "folder": "/",
        }
        try:
            with theirs, open(os.devnull, "r+b") as nowhere:
                pid = self._ask(wish, [nowhere.fileno(), nowhere.fileno(), theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return Line(Descendant(self, pid), ours)  # type: ignore[arg-type]

    def reap(self, pid: int) -> int:
        return self._ask({"reap": pid}, [])

    def _ask(self, message: Mapping[str, Any], files: Sequence[int]) -> int:
        return ask(self._requests, message, files)


class Descendant:
    """A fork server as its owner has it: what it uses of a Popen."""

    def __init__(self, template: Template, pid: int) -> None:
        self._template = template
        self._pid = pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        return self._template.reap(self._pid)


def install() -> None:
    """Fork servers of this process, and of those that are forked from it later on, begin so."""
    template = Template()
    Line.open = template.open  # type: ignore[method-assign]
