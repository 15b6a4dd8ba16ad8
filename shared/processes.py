"""Processes that run an author's code: what one is to be, how it is started, and how its end is seen."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from voxloom.runner.forkserver import FILE

_POLL = 0.05
"""Seconds between looks at a process where there is nothing to wait on."""


@dataclass(frozen=True)
class Wanted:
    """A process that leads a session of its own, and reads nothing from standard input."""

    main: Literal["host", "check", "describe"]
    """The module of voxloom.runner that it runs."""
    arguments: Sequence[str]
    """FILE stands for the number that `keeps` has there."""
    environment: Mapping[str, str]
    output: int
    errors: int
    keeps: int | None = None
    """A file that it has besides."""
    folder: str = "/"


class Child(Protocol):
    """Until it is reaped, nobody else has its number."""

    @property
    def pid(self) -> int: ...

    def has_exited(self) -> bool: ...

    async def exited(self) -> None:
        """Waits until it has ended, and leaves it to be reaped."""

    async def reap(self) -> int:
        """Its exit code, negative for a signal; once, after it has ended."""


class Executed:
    """A process that has begun from nothing."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def has_exited(self) -> bool:
        if not hasattr(os, "waitid"):
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # It has just been reaped.

    async def exited(self) -> None:
        """Where the system has nothing to wait on, it is reaped."""
        if not hasattr(os, "pidfd_open"):
            while self._process.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(_POLL)
            return
        descriptor = os.pidfd_open(self.pid)
        try:
            await readable(descriptor)
        finally:
            os.close(descriptor)

    async def reap(self) -> int:
        return await asyncio.to_thread(self._process.wait)


def execute(wanted: Wanted) -> Executed:
    """Blocks for a millisecond or two. Raises OSError."""
    arguments = [str(wanted.keeps) if word == FILE else word for word in wanted.arguments]
    return Executed(
        subprocess.Popen(  # noqa: S603  # our own modules
            [sys.executable, "-P", "-m", f"voxloom.runner.{wanted.main}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=wanted.output,
            stderr=wanted.errors,
            pass_fds=[] if wanted.keeps is None else [wanted.keeps],
            env=dict(wanted.environment),
            cwd=wanted.folder,
            start_new_session=True,
        )
    )


def has_ended(descriptor: int) -> bool:
    """Of the process that a pidfd stands for."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def readable(descriptor: int) -> None:
    """Waits until there is something to read; of a pidfd, until its process has ended."""
    loop = asyncio.get_running_loop()
    there: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        loop.remove_reader(descriptor)
        if not there.done():
            there.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await there
    finally:
        loop.remove_reader(descriptor)
