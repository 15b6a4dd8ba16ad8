"""Processes forked from one that has imported what they need: voxloom.runner.forkserver, as its owner sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from shared.processes import Child, Wanted, execute, has_ended, readable
from voxloom.runner.forkserver import FAILED, LONGEST_MESSAGE, NO_ORPHANS

SUPPORTED = sys.platform == "linux" and hasattr(os, "pidfd_open")
"""Elsewhere a fork of a process that has loaded much is not safe, or its end cannot be waited for."""

LOST = -signal.SIGKILL
"""The exit code of a process whose server is gone, so that nobody knows it: what killed one has killed the other."""

IDLE_SECS = 60.0
"""A server that has had no child and nothing to do for so long ends."""
_ANSWER_SECS = 60.0
"""A server that has not answered by then is killed; a first start takes half a second."""
_LONGEST_ANSWER = 4096

_log = logging.getLogger("voxloom.forkserver")


class Gone(OSError):
    """The server has ended."""


class Stuck(OSError):
    """The server does not answer."""


class Forked:
    """A process of the server. It stays, if only by its number, until it is reaped."""

    def __init__(self, server: Line, pid: int) -> None:
        self.pid = pid
        self._server = server
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            raise

    def has_exited(self) -> bool:
        return has_ended(self._descriptor)

    async def exited(self) -> None:
        await readable(self._descriptor)

    async def reap(self) -> int:
        """Its exit code, negative for a signal. Once, and after it has ended."""
        os.close(self._descriptor)
        try:
            return int(await self._server.ask({"reap": self.pid}, []))
        except OSError:
            return LOST


class Line:
    """The way to one server."""

    def __init__(self, process: subprocess.Popen[bytes], ours: socket.socket) -> None:
        self._process = process
        self._socket = ours

    @classmethod
    def open(cls, environment: Mapping[str, str]) -> Line:
        """Starts the server; it can be asked at once, and answers when it is ready. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                process = begin(theirs.fileno(), environment)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return cls(process, ours)

    async def ask(self, message: Mapping[str, Any], files: Sequence[int]) -> bytes:
        """Raises Gone, and OSError where the server could not do it."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._send(json.dumps(message).encode(), [theirs.fileno(), *files])
            answer = await _answer(ours)
        if not answer:
            raise Gone("the process that forks others has ended")
        if answer.startswith(FAILED):
            raise OSError(answer.removeprefix(FAILED).decode())
        return answer

    def _send(self, data: bytes, files: Sequence[int]) -> None:
        if len(data) > LONGEST_MESSAGE:
            raise OSError("the environment is too large to be passed on")
        try:
            socket.send_fds(self._socket, [data], files)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone("the process that forks others has ended") from error

    def close(self) -> None:
        """The server ends at once, wherever it is; its children go on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


async def _answer(ours: socket.socket) -> bytes:
    ours.setblocking(False)
    try:
        async with asyncio.timeout(_ANSWER_SECS):
            return await asyncio.get_running_loop().sock_recv(ours, _LONGEST_ANSWER)
    except TimeoutError as error:
        raise Stuck(f"the process that forks others has not answered within {_ANSWER_SECS:g} s") from error


class ForkServer:
    """Its process is started when it is first needed, and anew when it is gone."""

    def __init__(self) -> None:
        self._line: Line | None = None

    async def start(self, wanted: Wanted) -> Child:
        """A new process: forked where that can be done, else executed. A cancel ends it. Raises OSError."""
        if not SUPPORTED:
            return execute(wanted)
        forking = asyncio.create_task(self._start(wanted), name="forkserver.fork")
        try:
            return await asyncio.shield(forking)
        except asyncio.CancelledError:
            await _undo(forking)
            raise

    async def _start(self, wanted: Wanted) -> Child:
        """What libraries read while they are imported, they have read in the environment of the first process."""
        for _ in range(2):
            try:
                line = self._line = self._line or Line.open(wanted.environment)
                return Forked(line, int(await line.ask(_message(wanted), _files(wanted))))
            except Gone:  # It had nothing to do for long, or was killed.
                self._drop(line)
            except Stuck:  # Whom it may have forked already has what a second one would be given.
                self._drop(line)
                raise
            except OSError as error:
                _log.warning("a process is started from nothing, since it could not be forked: %s", error)
                break
        return execute(wanted)

    def _drop(self, line: Line) -> None:
        if self._line is line:
            self.close()

    def close(self) -> None:
        """Its processes go on, and nobody will know how they end."""
        if self._line is not None:
            self._line.close()
            self._line = None


async def _undo(starting: asyncio.Task[Child]) -> None:
    await asyncio.wait([starting])
    if starting.cancelled() or starting.exception() is not None:
        return
    child = starting.result()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.exited()
    await child.reap()


def _message(wanted: Wanted) -> dict[str, Any]:
    told = {"main": wanted.main, "arguments": list(wanted.arguments), "folder": wanted.folder}
    return {**told, "environment": dict(wanted.environment)}


def _files(wanted: Wanted) -> list[int]:
    return [wanted.output, wanted.errors, *([] if wanted.keeps is None else [wanted.keeps])]


def begin(
    descriptor: int, environment: Mapping[str, str], idle: float = IDLE_SECS, *, adopts: bool = True
) -> subprocess.Popen[bytes]:
    more = [] if adopts else [NO_ORPHANS]
    return subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-P", "-m", "voxloom.runner.forkserver", str(descriptor), str(idle), *more],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
