"""One broker and one S3 server for a whole run of the tests, however many processes share the work.

The process that the others come from owns them (pytest-xdist's controller; or the only one there is). Each is started
when a test asks for it first, and ends with its owner. The others learn by a socket where it is.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

Facts = dict[str, Any]
"""What another process must know of a server to use it; JSON."""

ANSWER_SECS = 240.0
YOUNG_SECS = 60.0
"""So old is a folder whose owner surely listens, if it lives."""
PREFIX = "voxloom-tests-"
DOOR = "keeper"
ROOM = 12 << 30
"""Bytes: three times what a run writes."""


def quick_folder() -> str | None:
    """In memory, where a flush to the disk costs nothing, if there is room for a run of the tests; else the usual one.
    What the tests kill are processes: what these have written stays there as it would on a disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return str(memory) if roomy and psutil.virtual_memory().available > ROOM else None


def remove_abandoned(place: Path, older_than: float = YOUNG_SECS) -> None:
    """Folders of runs that were killed: nobody answers there any more."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # Somebody else removes it, or owns it.
            if time.time() - folder.stat().st_mtime >= older_than and not _answers(folder / DOOR):
                shutil.rmtree(folder)


def _answers(address: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(address))
        return True
    return False


class Server(Protocol):
    @property
    def facts(self) -> Facts: ...

    def kill(self) -> None: ...


class Keeper:
    """Starts what it is asked for, once."""

    def __init__(self, makers: Mapping[str, Callable[[Path], Server]]) -> None:
        self._makers = makers
        place = Path(quick_folder() or tempfile.gettempdir())
        remove_abandoned(place)
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._alone = threading.Lock()
        self._started: dict[str, Server] = {}
        self.address = str(self._folder / DOOR)
        self._door = _Door(self.address, self)
        threading.Thread(target=self._door.serve_forever, name="keeper", daemon=True).start()

    def facts(self, name: str) -> Facts:
        with self._alone:
            if name not in self._started:
                self._started[name] = self._makers[name](self._folder / name)
            return self._started[name].facts

    def close(self) -> None:
        self._door.shutdown()
        self._door.server_close()
        for server in self._started.values():
            server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def facts_of(name: str, address: str) -> Facts:
    """Of the server of that name; it runs by then."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_SECS)
        asking.connect(address)
        with asking.makefile("rw") as words:
            words.write(f"{name}\n")
            words.flush()
            told: Facts = json.loads(words.readline())
    if "error" in told:
        raise RuntimeError(f"{name} did not start: {told['error']}")
    return told


class _Door(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, keeper: Keeper) -> None:
        super().__init__(address, _Answer)
        self.keeper = keeper


class _Answer(socketserver.StreamRequestHandler):
    server: _Door

    def handle(self) -> None:
        name = self.rfile.readline().decode().strip()
        if not name:  # somebody who only wanted to know whether anybody answers
            return
        try:
            told = self.server.keeper.facts(name)
        except Exception as error:  # noqa: BLE001  # whoever asked fails with it
            told = {"error": str(error)}
        self.wfile.write(json.dumps(told).encode() + b"\n")


# --- what the tests of a group share ------------------------------------------------------------------------------

ENDS = pytest.StashKey[list[Callable[[], None]]]()


def end_with_group(config: pytest.Config, end: Callable[[], None]) -> None:
    """Is called, perhaps not only here, when the last test of the group has run, where several processes run tests."""
    config.stash.setdefault(ENDS, []).append(end)


def end_shared(config: pytest.Config) -> None:
    ends = config.stash.setdefault(ENDS, [])
    while ends:
        ends.pop()()
