"""A Voxloom server as a child process, for programs that need one for a while."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

READY = re.compile(rb"^Voxloom is ready at (\S+)\n", re.MULTILINE)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServerTrouble(Exception):
    """The server did not start or did not end as it must; the message says where its log is."""


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@contextmanager
def running_server(
    data: Path, log: Path, *, ready_timeout: float = 30.0, stop_timeout: float = 30.0, **settings: object
) -> Iterator[Server]:
    """`voxloom up` on a free port, from ready to ended. Its own process group: a Ctrl-C does not reach it.

    `data` is its data folder, `log` takes its stderr, `settings` are those of shared/settings.py; the VOXLOOM_*
    variables of this program do not count. Whatever happens inside, the server is asked to end and waited for; past
    `stop_timeout` seconds it is killed. Raises ServerTrouble where it is not ready in time, or does not end with exit
    code 0.
    """
    process: subprocess.Popen[bytes] | None = None
    code = 0
    try:
        with held_signals():
            process = _start(data, log, settings)
        yield Server(_wait_until_ready(process, log, ready_timeout), process.pid)
    finally:
        if process is not None:
            with held_signals():
                code = _stop(process, stop_timeout)
    if code != 0:
        raise ServerTrouble(f"The server ended with exit code {code}; its log is {log}.")


@contextmanager
def held_signals() -> Iterator[None]:
    """Signals that would end this program wait until the block is left, so that no child is left behind."""
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def _start(data: Path, log: Path, settings: Mapping[str, object]) -> subprocess.Popen[bytes]:
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "voxloom", "up", "--host", "127.0.0.1", "--port", "0", "--data"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOXLOOM_")}
    environment |= {f"VOXLOOM_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("w") as stderr:
        return subprocess.Popen(
            [*command, str(data.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            cwd=data,  # where no voxloom.toml lies
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, timeout: float) -> str:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0 and select.select([process.stdout], [], [], left)[0]:
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            raise ServerTrouble(f"The server did not start:\n{_tail(log)}")
        said += piece
        if ready := READY.search(said):
            return ready[1].decode()
    raise ServerTrouble(f"The server was not ready within {timeout:g} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes], timeout: float) -> int:
    """The exit code; -9 where the server had to be killed."""
    assert process.stdout is not None
    process.terminate()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    return process.returncode


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
