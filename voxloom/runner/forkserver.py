"""A process that has imported what runners need, and forks them: `python -P -m voxloom.runner.forkserver SOCKET IDLE`.

Such a child is there within milliseconds, and shares the memory of what was imported. SOCKET keeps messages apart
(SOCK_SEQPACKET); each is JSON, comes with open files, and is answered on the first of these:

    {"main": "host", "arguments": [...], "environment": {...}, "folder": "/"}    the child's process number
        with its standard output, its standard error, and what else it is to have: "FILE" in the arguments stands for it
    {"reap": 4711}    the exit code of a child that has ended, negative for a signal

What could not be done is answered with "!" and the reason. The process ends when for IDLE seconds it has had no child
and nothing to do, and when the other end of SOCKET is closed: then it ends its children, and all that they have
started. What a child leaves behind when it ends, a daemon in a session of its own say, becomes a child of this process,
which ends it before it tells how the child has ended. Only where this process itself is killed its children live on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from voxloom.runner import children

LONGEST_MESSAGE = 128 << 10
"""Bytes; environments are most of it."""
FILE = "FILE"
NO_ORPHANS = "no-orphans"
"""A further argument of a server that leaves to others what its children leave behind."""
FAILED = b"!"

_MOST_FILES = 8
_LOADED = ("voxloom.runner.serving", "voxloom.runner.traininghandler", "voxloom.runner.family")

Message = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Returns in the server when it is over, and in each child when it has done what it was made for: so that it ends
    as any other process does."""
    mains = _import_all()
    descriptor, idle, *others = arguments
    adopts = NO_ORPHANS not in others and children.adopt()
    child = Server(socket.socket(fileno=int(descriptor)), mains, float(idle), adopts=adopts).serve()
    if child is not None:
        child()


def _import_all() -> dict[str, ModuleType]:
    """What a child can be. The collector leaves alone what is there by now, or it would copy the shared memory."""
    for name in _LOADED:
        importlib.import_module(name)
    names = ("host", "check", "describe", "forkserver")
    mains = {name: importlib.import_module(f"voxloom.runner.{name}") for name in names}
    gc.collect()
    gc.freeze()
    return mains


class Server:
    def __init__(
        self, requests: socket.socket, mains: dict[str, ModuleType], idle: float, *, adopts: bool = False
    ) -> None:
        self._requests = requests
        self._mains = mains
        self._idle = idle
        self._adopts = adopts
        self._children: set[int] = set()

    def serve(self) -> Callable[[], object] | None:
        """What is to be done in the child; None in the server, when it is over."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A supervisor sends it to all; the owner ends us in its time.
        while (received := self._next()) is not None:
            message, files = received
            try:
                child = self._answer(message, files)
            finally:
                for file in files:
                    os.close(file)
            if child is not None:
                return child
        if self._adopts:
            children.end_all()  # The owner is gone: nobody waits for them any more.
        return None

    def _next(self) -> tuple[Message, list[int]] | None:
        self._requests.settimeout(None if self._children else self._idle)
        try:
            data, files, _, _ = socket.recv_fds(self._requests, LONGEST_MESSAGE, _MOST_FILES)
        except (TimeoutError, ConnectionResetError):
            return None
        return (json.loads(data), files) if data else None

    def _answer(self, message: Message, files: list[int]) -> Callable[[], object] | None:
        reply, *others = files
        try:
            if "reap" in message:
                _say(reply, b"%d" % self._reap(message["reap"]))
                return None
            pid = os.fork()
        except OSError as error:
            _say(reply, FAILED + str(error).encode())
            return None
        if pid:
            self._children.add(pid)
            return None
        return self._begin(message, reply, others)

    def _reap(self, pid: int) -> int:
        _, status = os.waitpid(pid, 0)
        self._children.discard(pid)
        if self._adopts and children.has_any():
            children.end_all(self._children)
        return os.waitstatus_to_exitcode(status)

    def _begin(self, message: Message, reply: int, files: list[int]) -> Callable[[], object]:
        """In the child, which never goes back to serving."""
        self._requests.close()
        try:
            kept = _settle(message, *files)
        except OSError as error:
            _say(reply, FAILED + str(error).encode())
            raise
        _say(reply, b"%d" % os.getpid())
        arguments = [str(kept) if word == FILE else word for word in message["arguments"]]
        return _as_main(self._mains[message["main"]], arguments)


def _say(reply: int, word: bytes) -> None:
    with contextlib.suppress(OSError):  # Who asked has given up meanwhile.
        os.write(reply, word)


def _settle(message: Message, output: int, errors: int, keeps: int | None = None) -> int | None:
    """Makes the process what it would be had it been started for this. Returns the file that it keeps."""
    os.setsid()
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    time.tzset()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()  # `random` does so by itself
    return None if keeps is None else os.dup(keeps)


def _as_main(module: ModuleType, arguments: list[str]) -> Callable[[], object]:
    """Processes that this one spawns look up what its main module is."""
    sys.modules["__main__"] = module
    sys.argv = [str(module.__file__), *arguments]
    return lambda: module.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
