"""Processes that are forked from one that has imported all, and are else like any other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from shared import forkserver as forkserver_module
from shared.forkserver import LOST, ForkServer, Line, Stuck
from shared.processes import Child, Executed, Wanted
from tests import forking
from voxloom.runner import forkserver

DEADLINE = 60.0


@pytest.fixture
async def forks() -> AsyncIterator[ForkServer]:
    forks = ForkServer()
    yield forks
    forks.close()


class Place:
    """Where algorithms are written, and tried: the check of an algorithm runs what its Runner.py says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder / "said"
        self._count = 0

    def wanted(self, code: str, **environment: str) -> Wanted:
        self._count += 1
        self.folder = self.said.parent / str(self._count)
        self.folder.mkdir()
        (self.folder / "Runner.py").write_text(code)
        arguments = [str(self.folder), str(self.folder / "report"), str(8 << 30), "60"]
        with open(self.said, "ab") as said:
            number = os.dup(said.fileno())
        return Wanted("check", arguments, environment, output=number, errors=number, folder=str(self.folder))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def run(forks: ForkServer, wanted: Wanted) -> tuple[Child, int]:
    try:
        child = await forks.start(wanted)
    finally:
        os.close(wanted.output)
    async with asyncio.timeout(DEADLINE):
        await child.exited()
        return child, await child.reap()


async def test_a_process_has_what_it_was_given_and_nothing_of_the_servers(
    forks: ForkServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "open", forking.USUAL)
    code = "import json, os, sys; print(json.dumps([dict(os.environ), os.getcwd(), os.getsid(0), os.getpid()]))"
    await run(forks, place.wanted("", FIRST="1"))
    child, _ = await run(forks, place.wanted(code, SECOND="2", TZ="Asia/Tokyo"))
    environment, folder, session, pid = json.loads(place.said.read_text())
    assert [environment.get(name) for name in ("FIRST", "SECOND", "TZ")] == [None, "2", "Asia/Tokyo"]
    assert (folder, session, pid) == (str(place.folder), child.pid, child.pid)


async def test_a_process_has_no_file_of_the_servers(forks: ForkServer, place: Place) -> None:
    await run(forks, place.wanted("import os; print(*sorted(map(int, os.listdir('/proc/self/fd'))))"))
    assert place.said.read_text().split() == ["0", "1", "2", "3"]  # the last is the folder that is listed


async def test_no_two_draw_the_same_random_numbers(forks: ForkServer, place: Place) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    for _ in range(2):
        await run(forks, place.wanted(code))
    numbers = place.said.read_text().split()
    assert len(set(numbers)) == 4


async def test_what_spawned_children_take_for_their_main_module_is_ours(forks: ForkServer, place: Place) -> None:
    await run(forks, place.wanted("import sys; print(sys.modules['__main__'].__spec__.name, sys.argv[1:])"))
    assert place.said.read_text().startswith(f"voxloom.runner.check ['{place.folder}',")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", 0),
        ("import os; os._exit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 15)", -15),
    ],
)
async def test_its_exit_code_is_told(forks: ForkServer, place: Place, code: str, expected: int) -> None:
    _, returncode = await run(forks, place.wanted(f"import os; {code}"))
    assert returncode == expected


async def test_what_it_does_at_its_exit_is_done(forks: ForkServer, place: Place) -> None:
    await run(forks, place.wanted("import atexit; atexit.register(print, 'done'); print('begun', end=' ')"))
    assert place.said.read_text() == "begun done\n"


async def test_it_lives_on_when_its_server_is_killed_and_the_next_has_another(forks: ForkServer, place: Place) -> None:
    # Given a process, and no server any more
    first = await forks.start(place.wanted("import time; time.sleep(600)"))
    server = psutil.Process(first.pid).parent()
    assert server is not None
    server.kill()
    # When another is asked for
    second, returncode = await run(forks, place.wanted(""))
    # Then it has been forked all the same, and how the first will end nobody knows
    assert (returncode, isinstance(second, Executed), first.has_exited()) == (0, False, False)
    os.killpg(first.pid, signal.SIGKILL)
    await first.exited()
    assert await first.reap() == LOST


async def test_a_folder_that_is_gone_is_told_and_the_server_serves_on(forks: ForkServer, place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        await run(forks, replace(place.wanted(""), folder="/nowhere"))
    child, returncode = await run(forks, place.wanted(""))
    assert (isinstance(child, Executed), returncode) == (False, 0)


async def test_a_server_that_stands_still_is_given_up(
    forks: ForkServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(forks, place.wanted("import os; print(os.getppid())"))
    os.kill(int(place.said.read_text()), signal.SIGSTOP)
    monkeypatch.setattr(forkserver_module, "_ANSWER_SECS", 0.05)
    with pytest.raises(Stuck):
        await run(forks, place.wanted(""))
    monkeypatch.undo()
    child, returncode = await run(forks, place.wanted(""))
    assert (isinstance(child, Executed), returncode) == (False, 0)


async def test_where_it_cannot_be_forked_it_begins_from_nothing(forks: ForkServer, place: Place) -> None:
    child, returncode = await run(forks, place.wanted("", LARGE="x" * 120_000, LARGER="x" * 120_000))
    assert (isinstance(child, Executed), returncode) == (True, 0)


async def test_a_start_that_is_cancelled_leaves_no_process(
    forks: ForkServer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "open", forking.USUAL)  # which takes much longer than we wait here
    starting = asyncio.create_task(forks.start(place.wanted("import time; time.sleep(600)")))
    await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not [one for one in psutil.process_iter() if folder_of(one) == place.folder]


def folder_of(process: psutil.Process) -> Path | None:
    with contextlib.suppress(psutil.Error):
        return Path(process.cwd())
    return None


async def test_who_gives_up_while_a_process_is_reaped_does_not_harm_the_others(forks: ForkServer, place: Place) -> None:
    # Given two processes, of which one has ended
    other = await forks.start(place.wanted("import time; time.sleep(600)"))
    ended = await forks.start(place.wanted(""))
    await ended.exited()
    # When nobody waits for the answer of how it ended
    reaping = asyncio.create_task(ended.reap())
    await asyncio.sleep(0)
    reaping.cancel()
    await asyncio.wait([reaping])
    # Then the end of the other is still told
    os.killpg(other.pid, signal.SIGTERM)
    await other.exited()
    assert await other.reap() == -signal.SIGTERM


@pytest.fixture
def usual_sigterm() -> Iterator[None]:
    usual = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, usual)


def test_a_server_with_nothing_to_do_ends(usual_sigterm: None) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert forkserver.Server(theirs, {}, 0.01).serve() is None
