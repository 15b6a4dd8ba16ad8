"""Processes of `voxloom` that begin quickly: forked from one that has imported all they need, and else like any other.

Tests that start some hundred services and commands would spend most of their time on imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from shared.forkserver import Line
from tests import forking, readerforks, s3sessions
from tests.s3server import KEYS

MODULES = (
    "services.commands",
    "services.system",
    *(f"services.{name}.service" for name in ("recorder", "scheduler", "ingest", "deployer", "worker", "gateway")),
    "shared.bus.rabbit",
    "shared.objects.s3",
    "shared.telemetry",
    "uvloop",
    "voxloom.cli.main",
    "voxloom.cli.program",
    "voxloom.client",
    "voxloom.imagefiles",
    "voxloom.manifest",
    "services.checks",
    "rich.console",
    "rich.progress",
    "rich.table",
    "tifffile",
)

VOXLOOM = "voxloom"


class Child:
    """A process of the nursery. Its exit code is written down by its parent, which is not us."""

    def __init__(self, pid: int, code: Path) -> None:
        self.pid = pid
        self._code = code

    def signal(self, number: signal.Signals) -> None:
        if self.poll() is None:  # or the number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def poll(self) -> int | None:
        return int(self._code.read_text()) if self._code.exists() else None

    def wait(self, within: float) -> int:
        deadline = time.monotonic() + within
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} does not end within {within:g} s")
            time.sleep(0.01)
        return code


class Nursery:
    """It ends, with all its children, when whoever has it does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._codes = folder
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **KEYS},
            )

    def begin(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Path,
        log: Path,
        cwd: Path,
        module: str = VOXLOOM,
        stdin: str = os.devnull,
    ) -> Child:
        """`voxloom`, or another program (a module's name, or a file that ends in `.py`), with these arguments; what it
        prints is appended to both files, and what it reads is in the file `stdin`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = [str(output), str(log)]
        wish = {"arguments": list(arguments), "environment": dict(environment), "files": files, "cwd": str(cwd)}
        wish |= {"module": module, "stdin": stdin}
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        return Child(pid, self._codes / str(pid))

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        cwd: Path,
        timeout: float = 180.0,
        module: str = VOXLOOM,
        typed: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """`voxloom`, or another program, with these arguments to its end, like `subprocess.run`."""
        with tempfile.TemporaryDirectory(dir=self._codes) as place:
            said, errors, stdin = (Path(place, name) for name in ("said", "errors", "typed"))
            stdin.write_text(typed)
            places = {"output": said, "log": errors, "cwd": cwd}
            child = self.begin(arguments, environment=environment, module=module, stdin=str(stdin), **places)
            try:
                code = child.wait(timeout)
            except TimeoutError:
                os.kill(child.pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess(["voxloom", *arguments], code, said.read_text(), errors.read_text())

    def close(self) -> None:
        self._process.communicate(timeout=120.0)


# --- the process --------------------------------------------------------------------------------------------------


def main(folder: Path) -> None:
    forking.install()
    readerforks.install(at_once=True)
    s3sessions.install()
    get_ready()
    children: set[int] = set()
    ended = hear_of_ends()
    while True:
        reap(folder, children)
        if sys.stdin not in select.select([sys.stdin, ended], [], [])[0]:
            os.read(ended, 4096)
            continue
        wish = sys.stdin.readline()
        if not wish:
            break
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            become(**json.loads(wish))
        children.add(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in tuple(children):
        os.kill(pid, signal.SIGKILL)


def hear_of_ends() -> int:
    """Where there is something to read when a child has ended."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return told


def get_ready() -> None:
    """Does once what each child would do alike, and leaves the collector of garbage nothing to look at: it would copy
    all of the memory that parent and child share."""
    for module in MODULES:
        __import__(module)
    build_commands()
    look_for_commands()
    asyncio.run(open_client())
    gc.collect()
    gc.freeze()


def build_commands() -> None:
    """Each of them, with what it may be told: a tenth of a second for all."""
    from typer import main as typer

    from voxloom.cli.program import app

    typer.get_command = functools.cache(typer.get_command)
    typer.get_command(app)


def look_for_commands() -> None:
    """The packages that are installed here are looked through once."""
    from voxloom.cli import servers

    vars(servers)["entry_points"] = entry_points().select  # which takes the same words


async def open_client() -> None:
    """The library reads what it knows of S3; it asks nobody."""
    from botocore.session import get_session

    from shared.objects.cloud.connection import Connection
    from shared.objects.cloud.place import S3Place

    connection = await Connection.start(S3Place.from_url("s3://nobody-?endpoint=http://127.0.0.1:1"))
    await connection.close()
    get_session()  # the one for URLs


def reap(folder: Path, children: set[int]) -> None:
    for pid in tuple(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            told = folder / f"{pid}.new"
            told.write_text(str(os.waitstatus_to_exitcode(status)))
            told.rename(folder / str(pid))


def become(
    arguments: list[str], environment: dict[str, str], files: Sequence[str], cwd: str, module: str, stdin: str
) -> Any:
    """What a new process of the program would be."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background job would be deaf to it.
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if environment.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    if forking.OWN in environment:
        Line.open = forking.USUAL  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    code: Any = 1
    try:
        (runpy.run_path if module.endswith(".py") else runpy.run_module)(module, run_name="__main__")
        code = 0
        gc.collect()  # which finds what was not closed
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    except BaseException:  # noqa: BLE001  # as Python does with what nobody has caught
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
