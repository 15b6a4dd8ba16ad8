"""Processes that open HDF5 files, as they begin quickly: forked from one that has imported the library.

Each system has some of its own, and each would spend a third of a second of the processor on imports:
`python -m tests.readerforks SOCKET` forks them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.streams import FlowControlMixin
from pathlib import Path

from shared.hdf5 import inspector, limited_processes, reader
from shared.hdf5.limited_processes import LONGEST_LINE, Helper, Helpers
from shared.processes import has_ended, readable
from tests.forking import ask

LONGEST_MESSAGE = 4096
REAP_SECS = 1.0
MAINS = {str(module.__file__): module.main for module in (inspector, reader)}
"""What a child can be, by the file that is run elsewhere."""
USUAL = Helpers._start


class Process:
    """What its owner uses of one of asyncio's. It is a child of the template, which reaps it."""

    def __init__(self, pid: int, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def wait(self) -> None:
        if not has_ended(self._descriptor):
            await readable(self._descriptor)
        os.close(self._descriptor)


class Template:
    """Its process ends with all that have the other end of its socket."""

    def __init__(self) -> None:
        self._requests: socket.socket | None = None

    def fork(self, file: str, memory: int, seconds: float, stdin: int, stdout: int) -> int:
        """The number of a process that is what `python FILE MEMORY SECONDS` would be."""
        if self._requests is None:
            self.begin()
        assert self._requests is not None
        return ask(self._requests, [file, memory, seconds], [stdin, stdout])

    def begin(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                env=limited_processes._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )


def install(*, at_once: bool = False) -> None:
    """Those of this process begin so; `at_once`: and of those that are forked from it, from the same template."""
    template = Template()
    if at_once:
        template.begin()

    async def start(self: Helpers) -> Helper:
        if self._module.__file__ not in MAINS:  # a test has something else in its place
            return await USUAL(self)
        stdin, requests = os.pipe()
        replies, stdout = os.pipe()
        try:
            pid = template.fork(str(self._module.__file__), self._memory, self._timeout, stdin, stdout)
        finally:
            os.close(stdin)
            os.close(stdout)
        return Helper(Process(pid, await _writer(requests), await _reader(replies)))  # type: ignore[arg-type]

    Helpers._start = start  # type: ignore[method-assign]


async def _writer(pipe: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(FlowControlMixin, os.fdopen(pipe, "wb"))
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _reader(pipe: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    return reader


# --- the process --------------------------------------------------------------------------------------------------


def main(requests: socket.socket) -> None:
    """Returns in a child that is done, and when nobody can ask any more."""
    requests.settimeout(REAP_SECS)
    while True:
        reap()
        try:
            data, files, _, _ = socket.recv_fds(requests, LONGEST_MESSAGE, 3)
        except TimeoutError:
            continue
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            requests.close()
            become(*json.loads(data), *files)
            return
        os.write(files[0], b"%d" % pid)
        for file in files:
            os.close(file)


def become(file: str, memory: int, seconds: float, reply: int, stdin: int, stdout: int) -> None:
    os.setsid()
    for number, taken in enumerate((stdin, stdout)):
        os.dup2(taken, number)
    for taken in (reply, stdin, stdout):
        os.close(taken)
    MAINS[file](memory, seconds)


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    main(socket.socket(fileno=int(sys.argv[1])))
