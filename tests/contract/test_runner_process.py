"""Runner processes, real ones: what authors' code may do to them, and what comes of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.worker.guardian import Guardian
from services.worker.process import EXIT_AFTER_EOF, RunnerProcess
from shared.environment import THREADS
from shared.forkserver import ForkServer
from voxloom.errors import InvalidInput, NotFound, Unavailable
from voxloom.models import RunError
from voxloom.runner import frames

DEADLINE = 60.0


class Desk:
    """A worker's side of a run on plain folders: `inputs` by id, and what was said, kept to look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs: dict[str, Path] = {}
        self.posted: list[str] = []
        self.assets: list[str] = []
        self.progresses: list[float] = []
        self.states: list[dict[str, Any]] = []
        self.known_samples: dict[str, list[dict[str, list[str]]]] = {}
        self.checkpoints: list[tuple[dict[str, bytes], dict[str, Any]]] = []
        self.dropped: list[str] = []
        self.session: dict[str, tuple[str, bytes]] = {}
        self.stored: list[str] = []
        self.log = ""
        self.hold = asyncio.Event()
        self.hold.set()
        self.logged_something = asyncio.Event()

    def progress(self, value: float) -> None:
        self.progresses.append(value)

    def logged(self, text: str) -> None:
        self.log += text
        self.logged_something.set()

    async def fetch(self, file_ids: list[str]) -> list[Path]:
        await self.hold.wait()
        try:
            return [self.inputs[file_id] for file_id in file_ids]
        except KeyError as error:
            raise NotFound(f"There is no file {error}.", code="file_not_found") from None

    async def stage(self, count: int) -> list[tuple[str, Path]]:
        staged = {f"out-{len(self.inputs) + at}": self.folder / f"{len(self.inputs) + at}.h5" for at in range(count)}
        self.inputs.update(staged)
        return list(staged.items())

    async def post(self, file_ids: list[str]) -> None:
        self.posted += file_ids

    async def asset(self, path: str) -> Path:
        self.assets.append(path)
        if path != "weights.txt":
            raise NotFound(f"There is no asset {path!r}.", code="asset_path_not_found")
        weights = self.folder / "weights.txt"
        weights.write_text("0.5")
        return weights

    def state(self, state: dict[str, Any]) -> None:
        self.states.append(state)

    async def samples(self, sample_ids: list[str]) -> list[dict[str, Any]]:
        if unknown := [one for one in sample_ids if one not in self.known_samples]:
            raise NotFound(f"There is no sample {unknown[0]!r}.", code="sample_not_found")
        return [{"sample_id": one, "files": self.known_samples[one], "tags": ["t"]} for one in sample_ids]

    async def checkpoint(self, assets: dict[str, str], properties: dict[str, Any]) -> str:
        if "weights.txt" not in assets:
            raise InvalidInput("There is no such asset.", code="checkpoint_asset_path_invalid")
        self.checkpoints.append(({path: Path(place).read_bytes() for path, place in assets.items()}, properties))
        return f"checkpoint-{len(self.checkpoints)}"

    async def drop_checkpoint(self, checkpoint_id: str) -> None:
        self.dropped.append(checkpoint_id)

    async def session_index(self) -> dict[str, str]:
        return {key: name for key, (name, _) in self.session.items()}

    async def session_fetch(self, key: str) -> Path | None:
        if key not in self.session:
            return None
        path = self.folder / f"fetched-{key}"
        path.write_bytes(self.session[key][1])
        return path

    async def session_store(self, items: dict[str, str], removed: list[str]) -> dict[str, str]:
        for key in removed:
            self.session.pop(key, None)
        contents = {key: Path(place).read_bytes() for key, place in items.items()}
        self.session.update({key: (hashlib.sha256(content).hexdigest(), content) for key, content in contents.items()})
        self.stored += sorted(items)
        return {key: self.session[key][0] for key in items}

    async def until_log_has(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while text not in self.log:
                self.logged_something.clear()
                await self.logged_something.wait()

    @property
    def lines(self) -> list[str]:
        return [line.split(" ", 2)[2] for line in self.log.splitlines()]


class Bench:
    """Writes algorithms, starts processes for them, and ends those at the end of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[RunnerProcess] = []
        self._forks = ForkServer()
        self._count = 0

    def module(self, body: str = "", **files: str) -> Path:
        """A module whose Runner's inference has this body; `files` add to it or replace Runner itself."""
        self._count += 1
        folder = self.folder / f"module{self._count}"
        folder.mkdir()
        files.setdefault("Runner", runner_source(body))
        for name, text in files.items():
            path = folder / (name.replace("___", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return folder

    async def process(self, *, memory: int | None = None, forked: bool = True) -> RunnerProcess:
        process = await RunnerProcess.start(memory=memory, forks=self._forks if forked else None)
        self.processes.append(process)
        return process

    async def close(self) -> None:
        for process in self.processes:
            await process.kill()
        self._forks.close()

    def frame(self, module: Path, **changes: object) -> frames.Run:
        self._count += 1
        scratch = self.folder / f"scratch{self._count}"
        scratch.mkdir()
        frame = frames.Run(
            run=f"run-{self._count}",
            attempt=1,
            module_dir=str(module),
            device="cpu",
            input_dataset_ids=[],
            args={},
            session_token="token",
            scratch=str(scratch),
        )
        return frame.model_copy(update=changes)

    async def run(
        self, module: Path, process: RunnerProcess | None = None, desk: Desk | None = None, **changes: object
    ) -> tuple[frames.Ended, Desk]:
        process = process or await self.process()
        desk = desk or Desk(self.folder)
        ended = await asyncio.wait_for(process.run(self.frame(module, **changes), desk), DEADLINE)
        return ended, desk


async def test_libraries_have_the_threads_that_a_run_may_have(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that begins with its share, in the environment of a server that says nothing else
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    process = await RunnerProcess.start(threads=1)
    bench.processes.append(process)
    says = """
    from threadpoolctl import threadpool_info
    blas = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
    return os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"], blas
    """
    # When one algorithm says nothing, and then another that it wants three
    module = bench.module(says)
    first, _ = await bench.run(module, process)
    second, _ = await bench.run(module, process, environment=dict.fromkeys(THREADS, "3"))
    # Then each has what it may have, also of what was loaded long before
    assert [ended.outputs for ended in (first, second)] == [["('1', '1', {1})"], ["('3', '3', {3})"]]


def runner_source(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip() or "pass", " " * 8)
    return f"""
import logging, os, sys, threading, time
from voxloom import Runner as Base
from voxloom.runner import TaskStoppedException

def square(number):
    return number * number

class Runner(Base):
    def preprocess(self, input_data, args):
        return input_data["input_dataset_ids"]

    def inference(self, data, args):
{lines}

    def postprocess(self, data, args):
        return [str(data)]
"""


@pytest.fixture
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("b"))
    yield bench
    await bench.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


def error_of(ended: frames.Ended) -> RunError:
    assert ended.error is not None
    return ended.error


# --- a run ------------------------------------------------------------------------------------------------


async def test_a_run_gives_what_postprocess_returns(bench: Bench) -> None:
    ended, _ = await bench.run(bench.module("return args['n'] + 1"), args={"n": 41})
    assert (ended.outcome, ended.outputs, ended.error) == ("completed", ["42"], None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            "import multiprocessing as m\nwith m.get_context('spawn').Pool(1) as pool: return pool.map(square, [3])",
            None,
        ),
        ("os._exit(3)", "runner_exited"),
        ("os.kill(os.getpid(), 9)", "runner_killed"),
        ("bytearray(64 << 30)", "out_of_memory"),
    ],
)
async def test_it_is_the_same_where_processes_cannot_be_forked(bench: Bench, body: str, code: str | None) -> None:
    process = await bench.process(forked=False, memory=8 << 30)
    ended, desk = await bench.run(bench.module(body), process)
    assert (ended.error and ended.error.code) == code, desk.log


@pytest.mark.parametrize("forked", [False, True], ids=["begun from nothing", "forked"])
async def test_an_exit_is_told_as_such_even_if_it_takes_long_to_clear_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    remove = shutil.rmtree

    def slowly(path: str, **how: Any) -> None:
        time.sleep(EXIT_AFTER_EOF + 0.3)
        remove(path, **how)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    process = await bench.process(forked=forked)
    ended, _ = await bench.run(bench.module("os._exit(3)"), process)
    assert error_of(ended).code == "runner_exited"


async def test_files_written_by_a_run_are_posted_and_can_be_fetched_at_once(bench: Bench) -> None:
    body = """
    import numpy as np
    from voxloom.runner import ImageSchema
    ids = self.post_data([{"image": np.ones((2, 3), "uint8")}], ImageSchema)
    return self.fetch_data(ids, ImageSchema)[0]["image"].sum()
    """
    ended, desk = await bench.run(bench.module(body))
    assert (ended.outputs, desk.posted) == (["6"], ["out-0"])


async def test_a_refused_question_is_an_exception_that_can_be_caught(bench: Bench) -> None:
    body = """
    from voxloom.runner import AssetNotFound, ImageSchema
    caught = []
    try:
        self.fetch_asset("nothing.pt")
    except AssetNotFound as error:
        caught.append(type(error).__name__)
    try:
        self.fetch_data(["unknown"], ImageSchema)
    except ValueError as error:
        caught.append(error.code)
    return caught
    """
    ended, _ = await bench.run(bench.module(body))
    assert ended.outputs == ["['AssetNotFound', 'file_not_found']"]


async def test_assets_are_loaded_once_and_attributes_start_afresh(bench: Bench) -> None:
    source = runner_source("self.count += 1\nreturn (self.weight, self.count, hasattr(self, 'left_over'))").replace(
        "class Runner(Base):",
        "class Runner(Base):\n    def __init__(self):\n        self.count = 0\n"
        "    def load_assets(self):\n        self.weight = float(self.fetch_asset('weights.txt').read())\n",
    )
    module = bench.module(Runner=source.replace("return input_data", "self.left_over = 1; return input_data"))
    source_of_phase = module / "Runner.py"
    source_of_phase.write_text(source_of_phase.read_text().replace("hasattr(self, 'left_over')", "self.left_over"))
    process, desk = await bench.process(), Desk(bench.folder)
    first, _ = await bench.run(module, process, desk)
    second, _ = await bench.run(module, process, desk)
    assert (first.outputs, second.outputs, desk.assets) == (["(0.5, 1, 1)"], ["(0.5, 1, 1)"], ["weights.txt"])


async def test_attributes_of_an_earlier_run_are_gone(bench: Bench) -> None:
    module = bench.module("seen = hasattr(self, 'mine'); self.mine = 1; return seen")
    process = await bench.process()
    await bench.run(module, process)
    ended, _ = await bench.run(module, process)
    assert ended.outputs == ["False"]


async def test_the_working_folder_and_tempfile_are_the_runs_own(bench: Bench) -> None:
    body = """
    import tempfile
    same = tempfile.gettempdir() == os.environ['TMPDIR']
    return same, os.getcwd() == os.path.realpath(os.environ['TMPDIR']) == args['here']
    """
    module, process = bench.module(body), await bench.process()
    outputs = []
    for _ in range(2):
        frame = bench.frame(module)
        desk = Desk(bench.folder)
        frame = frame.model_copy(update={"args": {"here": frame.scratch}})
        outputs += (await asyncio.wait_for(process.run(frame, desk), DEADLINE)).outputs
    assert outputs == ["(True, True)", "(True, True)"]


async def test_every_run_reports_its_own_peak_of_memory(bench: Bench) -> None:
    module, process = bench.module("x = bytearray(args['size']); x[::4096] = x[::4096]; return 0"), None
    process = await bench.process()
    big, _ = await bench.run(module, process, args={"size": 300 << 20})
    small, _ = await bench.run(module, process, args={"size": 1})
    assert big.peak_memory_bytes is not None
    assert small.peak_memory_bytes is not None
    assert big.peak_memory_bytes > small.peak_memory_bytes + (200 << 20)


async def test_progress_is_throttled_and_the_last_value_arrives(bench: Bench) -> None:
    body = "for n in range(20_001): self.set_progress(n / 40_000)\ntime.sleep(0.2)\nself.set_progress(0.75)\nreturn 0"
    ended, desk = await bench.run(bench.module(body))
    assert (ended.progress, 0.5 in desk.progresses, len(desk.progresses) < 60) == (0.75, True, True)


async def test_progress_and_data_work_in_threads(bench: Bench) -> None:
    body = """
    def work():
        self.set_progress(0.25)
        self.value = self.task_handler.task_id
    thread = threading.Thread(target=work); thread.start(); thread.join()
    return self.value
    """
    ended, _ = await bench.run(bench.module(body), run="run-in-threads")
    assert (ended.progress, ended.outputs) == (0.25, ["run-in-threads"])


async def test_a_thread_that_outlives_its_run_is_told_that_it_is_over(bench: Bench) -> None:
    go, said = bench.folder / "go", bench.folder / "said"
    body = f"""
    handler = self.task_handler
    def ask():
        while not os.path.exists({str(go)!r}):
            time.sleep(0.01)
        try:
            word = str(handler.fetch_asset("asset"))
        except Exception as error:
            word = type(error).__name__
        with open({str(said)!r}, "w") as file:
            file.write(word)
    threading.Thread(target=ask, daemon=True).start()
    """
    # Given a run that has ended, and left a thread
    await bench.run(bench.module(body))
    # When the thread asks for something
    go.touch()
    # Then nobody lets it wait
    await until(lambda: said.exists() and said.read_text() != "")
    assert said.read_text() == "NoRun"


# --- what a run says --------------------------------------------------------------------------------------


async def test_log_lines_have_one_form(bench: Bench) -> None:
    _, desk = await bench.run(bench.module("self.log_message('hello', 'WARNING')"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING hello\n", desk.log)


SAYINGS = {
    "print": ("print('a', 'b')", "INFO a b"),
    "print without newline": ("print('half', end='')", "INFO half"),
    "print to stderr": ("print('careful', file=sys.stderr)", "WARNING careful"),
    "progress bar": ("sys.stderr.write('\\r10%'); sys.stderr.write('\\r90%'); sys.stderr.write('\\n')", "WARNING 90%"),
    "logging": ("logging.getLogger('Runner').info('n=%d', 3)", "INFO n=3"),
    "warnings": ("import warnings; warnings.warn('old')", "UserWarning: old"),
    "bytes to the buffer": ("sys.stdout.buffer.write(b'raw\\n')", "INFO raw"),
    "C level": ("os.write(1, b'from C\\n')", "INFO from C"),
    "C level, half a line": ("os.write(2, b'last words')", "WARNING last words"),
    "subprocess": ("import subprocess; subprocess.run(['echo', 'child'])", "INFO child"),
    "handler's logger": ("self.task_handler.logger.warning('w')", "WARNING w"),
    "lone surrogate": ("print('\\ud800')", "INFO \\ud800"),
    "error in a thread": ("t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", "ZeroDivisionError"),
}


@pytest.mark.parametrize(("body", "expected"), SAYINGS.values(), ids=SAYINGS.keys())
async def test_what_is_said_is_in_the_log_when_the_run_ends(bench: Bench, body: str, expected: str) -> None:
    _, desk = await bench.run(bench.module(body))
    assert expected in desk.log


async def test_debug_messages_stay_out_of_the_log(bench: Bench) -> None:
    _, desk = await bench.run(bench.module("self.log_message('x', 'DEBUG'); logging.debug('y'); print('z')"))
    assert desk.lines == ["INFO z"]


async def test_other_libraries_reach_the_log_from_warning(bench: Bench) -> None:
    body = """
    code = "import logging; log = logging.getLogger('lib'); log.info('chatter'); log.warning('matter')"
    exec(compile(code, '/usr/lib/lib.py', 'exec'), {})
    """
    _, desk = await bench.run(bench.module(body))
    assert desk.lines == ["WARNING matter"]


async def test_notes_of_the_worker_come_first(bench: Bench) -> None:
    _, desk = await bench.run(bench.module("print('x')"), notes=["no card, using the cpu"])
    assert desk.lines == ["WARNING no card, using the cpu", "INFO x"]


async def test_lines_arrive_while_the_run_goes_on(bench: Bench) -> None:
    process, desk = await bench.process(), Desk(bench.folder)
    module = bench.module("print('early')\nwhile True: self.task_handler.check_stopped(); time.sleep(0.01)")
    run = asyncio.create_task(process.run(bench.frame(module, run="r"), desk))
    await desk.until_log_has("early")
    process.stop("r")
    assert (await asyncio.wait_for(run, DEADLINE)).outcome == "stopped"


async def test_a_log_over_its_limit_is_cut_and_the_rest_counted(bench: Bench) -> None:
    body = "for n in range(200_000): print('x' * 100)\nos.write(1, b'y' * 50_000 + b'\\n')"
    ended, desk = await bench.run(bench.module(body), log_limit=1_000_000)
    assert len(desk.log) <= 1_000_000
    assert len(desk.log) + ended.log_dropped > 200_000 * 100 + 50_000


async def test_an_endless_line_is_cut(bench: Bench) -> None:
    _, desk = await bench.run(bench.module("print('x' * 10_000_000)"))
    assert len(desk.log) < 70_000
    assert "more characters" in desk.log


# --- how a run may end ------------------------------------------------------------------------------------


async def test_an_exception_fails_the_run_with_the_authors_frames_alone(bench: Bench) -> None:
    source = runner_source("secret = 'hunter2'\nreturn helpers.boom()").replace(
        "import logging", "import helpers, logging"
    )
    module = bench.module(Runner=source, helpers="def boom():\n    raise ValueError('bad pixel')\n")
    ended, desk = await bench.run(module)
    assert error_of(ended) == RunError(type="ValueError", message="bad pixel", code="algorithm_error")
    assert re.findall(r'File "(.*?)", line \d+, in (\w+)', desk.log) == [
        ("Runner.py", "inference"),
        ("helpers.py", "boom"),
    ]
    assert "hunter2'" not in desk.log.replace("secret = 'hunter2'", "")


async def test_a_process_serves_on_after_an_exception(bench: Bench) -> None:
    module, process = bench.module("return 1 / args['n']"), await bench.process()
    await bench.run(module, process, args={"n": 0})
    ended, _ = await bench.run(module, process, args={"n": 1})
    assert ended.outputs == ["1.0"]


ENDS = {
    "sys.exit": ("sys.exit(3)", "runner_exited", "sys.exit(3)"),
    "os._exit": ("os._exit(3)", "runner_exited", "exit code 3"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "runner_killed", "SIGSEGV"),
    "abort": ("os.abort()", "runner_killed", "SIGABRT"),
    "SIGKILL": ("os.kill(os.getpid(), 9)", "runner_killed", "out of memory"),
    "MemoryError": ("raise MemoryError", "out_of_memory", "memory"),
    "full disk": ("open('/dev/full', 'wb', buffering=0).write(b'x')", "storage_full", "disk of the worker is full"),
    "full disk, as HDF5 has it": (
        "raise OSError('cannot write (errno = 28, error message = \\'No space left on device\\')')",
        "storage_full",
        "voxloom rm",
    ),
    "wrong return": ("self.postprocess = lambda data, args: None", "invalid_outputs", "None"),
    "closed descriptors": ("os.closerange(3, 200)", "runner_broken", "file descriptor"),
}


@pytest.mark.parametrize(("body", "code", "words"), ENDS.values(), ids=ENDS.keys())
async def test_every_bad_end_has_its_code(bench: Bench, body: str, code: str, words: str) -> None:
    ended, _ = await bench.run(bench.module(body))
    assert (ended.outcome, error_of(ended).code) == ("failed", code)
    assert words in error_of(ended).message


async def test_a_crash_shows_where_python_was(bench: Bench) -> None:
    ended, desk = await bench.run(bench.module("print('before'); import ctypes; ctypes.string_at(0)"))
    assert "Segmentation fault" in desk.log
    assert "in inference" in desk.log
    assert ended.reusable is False


async def test_a_dead_process_is_not_alive(bench: Bench) -> None:
    process = await bench.process()
    await bench.run(bench.module("os._exit(0)"), process)
    await until(lambda: not process.alive)
    assert process.returncode == 0


async def test_one_that_was_reaped_this_very_moment_is_not_alive_and_takes_no_run(bench: Bench) -> None:
    # Given a process that is reaped before anybody here can notice: nothing else runs on the loop meanwhile
    process = await bench.process(forked=False)
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
    # When it is asked, and given a run, then it is known to be gone
    assert not process.alive
    with pytest.raises(Unavailable, match="run it again"):
        await bench.run(bench.module("pass"), process)


async def test_memory_over_the_limit_fails_the_run(bench: Bench) -> None:
    process = await bench.process(memory=2 << 30)
    ended, _ = await bench.run(bench.module("return len(bytearray(4 << 30))"), process)
    assert error_of(ended).code == "out_of_memory"


ODD_ERRORS = {
    "endless": ("raise ValueError('x' * (80 << 20))", "ValueError"),
    "unprintable": ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})", "Odd"),
    "no Unicode": ("raise ValueError('\\ud800')", "ValueError"),
    "outputs of no Unicode": ("self.postprocess = lambda d, a: ['\\ud800']", "InvalidOutputs"),
    "outputs without measure": ("self.postprocess = lambda d, a: ['x' * (80 << 20)]", "InvalidOutputs"),
}


@pytest.mark.parametrize(("body", "name"), ODD_ERRORS.values(), ids=ODD_ERRORS.keys())
async def test_no_error_is_too_odd_to_be_told(bench: Bench, body: str, name: str) -> None:
    ended, _ = await bench.run(bench.module(body))
    assert (error_of(ended).type, ended.reusable, len(error_of(ended).message) < 5000) == (name, True, True)


async def test_a_forked_child_that_returns_into_the_host_does_no_harm(bench: Bench) -> None:
    body = "if os.fork() == 0: return 'child'\nos.wait()\nreturn 'parent'"
    ended, _ = await bench.run(bench.module(body))
    assert ended.outputs == ["parent"]


UNUSABLE = {
    "syntax error": ("def broken(:\n", "SyntaxError"),
    "missing library": ("import no_such_library\n", "no_such_library"),
    "no class": ("x = 1\n", "no class named `Runner`"),
    "another base": ("class Runner:\n    pass\n", "derive from voxloom.Runner"),
    "a step is missing": ("from voxloom import Runner as B\nclass Runner(B):\n    pass\n", "lacks inference"),
    "exit at import": ("import sys\nsys.exit(1)\n", "SystemExit"),
}


@pytest.mark.parametrize(("source", "words"), UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_an_algorithm_that_cannot_be_imported_says_why(bench: Bench, source: str, words: str) -> None:
    ended, _ = await bench.run(bench.module(Runner=source))
    assert (ended.outcome, error_of(ended).code, ended.reusable) == ("failed", "algorithm_import_failed", False)
    assert words in error_of(ended).message


async def test_two_algorithms_with_a_module_of_one_name_do_not_meet(bench: Bench) -> None:
    source = "import utils\nfrom utils import name\nfrom .utils import name as again\n" + runner_source(
        "return (utils.name, name, again)"
    )
    modules = [bench.module(Runner=source, utils=f"name = {name!r}\n") for name in ("first", "second")]
    outputs = [(await bench.run(module))[0].outputs for module in modules]
    assert outputs == [["('first', 'first', 'first')"], ["('second', 'second', 'second')"]]


# --- stopping ---------------------------------------------------------------------------------------------


async def stopped_run(bench: Bench, body: str, *, hold: bool = False) -> tuple[frames.Ended, Desk, RunnerProcess]:
    """Runs `body`, and stops it once it has said `ready`."""
    process, desk = await bench.process(), Desk(bench.folder)
    if hold:
        desk.hold.clear()
    run = asyncio.create_task(process.run(bench.frame(bench.module(body), run="r"), desk))
    await desk.until_log_has("ready")
    process.stop("r")
    await asyncio.sleep(0)
    ended = asyncio.create_task(asyncio.wait_for(run, DEADLINE))
    if hold:
        await desk.until_log_has("done")
        desk.hold.set()
    return await ended, desk, process


FOREVER = "print('ready')\nwhile True:\n    time.sleep(0.01)\n    "
TRY_FOREVER = "print('ready')\ntry:\n    while True: time.sleep(0.01); self.log_message('on')\n"


async def test_a_stop_comes_out_of_the_next_call(bench: Bench) -> None:
    ended, _, _ = await stopped_run(bench, FOREVER + "self.set_progress(0.5)")
    assert (ended.outcome, ended.error, ended.progress) == ("stopped", None, 0.5)


async def test_except_exception_does_not_swallow_a_stop(bench: Bench) -> None:
    body = FOREVER + "try: self.set_progress(0.5)\n    except Exception: pass"
    ended, _, _ = await stopped_run(bench, body)
    assert ended.outcome == "stopped"


async def test_calls_work_again_after_the_stop_was_raised(bench: Bench) -> None:
    body = TRY_FOREVER + "finally: self.log_message('saved')"
    ended, desk, _ = await stopped_run(bench, body)
    assert (ended.outcome, desk.lines[-1]) == ("stopped", "INFO saved")


async def test_a_run_that_catches_the_stop_and_returns_has_completed(bench: Bench) -> None:
    ended, _, _ = await stopped_run(bench, TRY_FOREVER + "except TaskStoppedException: return 7")
    assert (ended.outcome, ended.outputs) == ("completed", ["7"])


async def test_a_stop_is_seen_while_a_call_waits_for_its_answer(bench: Bench) -> None:
    body = """
    from voxloom.runner import ImageSchema
    print('ready')
    try: self.fetch_data(['never'], ImageSchema)
    finally: self.log_message('done')
    """
    ended, _, _ = await stopped_run(bench, body, hold=True)
    assert ended.outcome == "stopped"


async def test_a_process_serves_on_after_a_stop(bench: Bench) -> None:
    ended, desk, process = await stopped_run(bench, "if args: return 7\n" + FOREVER + "self.set_progress(0.5)")
    frame = bench.frame(bench.folder / "module1", args={"x": 1})
    again = await asyncio.wait_for(process.run(frame, desk), DEADLINE)
    assert (ended.outcome, again.outputs) == ("stopped", ["7"])


async def test_a_stop_for_another_run_is_not_heard(bench: Bench) -> None:
    process = await bench.process()
    process.stop("another")
    ended, _ = await bench.run(bench.module("self.set_progress(1)"), process)
    assert ended.outcome == "completed"


async def test_a_run_stuck_in_c_is_ended_by_kill(bench: Bench) -> None:
    process, desk = await bench.process(), Desk(bench.folder)
    stuck = "print('ready'); time.sleep(0.2); import ctypes; ctypes.PyDLL(None).sleep(600)"
    run = asyncio.create_task(process.run(bench.frame(bench.module(stuck)), desk))
    await desk.until_log_has("ready")
    await asyncio.sleep(0.4)  # until it sits in C, holding the interpreter's lock
    await process.kill()
    ended = await asyncio.wait_for(run, DEADLINE)
    assert (error_of(ended).code, "the worker ended it" in error_of(ended).message) == ("runner_killed", True)
    assert not is_running(process.pid)


async def test_a_signal_to_all_of_a_service_does_not_end_a_run(bench: Bench) -> None:
    body = """
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
    child = os.fork() or time.sleep(600)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    """
    ended, desk = await bench.run(bench.module(body))
    assert ended.outputs == [str(-signal.SIGTERM)], desk.log


async def test_cancelling_a_run_kills_its_process(bench: Bench) -> None:
    process, desk = await bench.process(), Desk(bench.folder)
    run = asyncio.create_task(process.run(bench.frame(bench.module("print('ready'); time.sleep(600)")), desk))
    await desk.until_log_has("ready")
    run.cancel()
    await asyncio.wait([run], timeout=DEADLINE)
    assert not is_running(process.pid)


async def test_an_idle_process_leaves_when_asked(bench: Bench) -> None:
    process = await bench.process()
    await process.leave()
    assert process.returncode == 0


# --- children ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_pools_of_child_processes_work(bench: Bench, method: str) -> None:
    source = "from .utils import cube\n" + runner_source(
        f"""
        import multiprocessing
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            return pool.map(square, [1, 2]) + pool.map(cube, [2, 3])
        """
    )
    module = bench.module(
        Runner=source, utils="from . import parts\ndef cube(n):\n    return n ** parts.THREE\n", parts="THREE = 3\n"
    )
    ended, desk = await bench.run(module)
    assert ended.outputs == ["[1, 4, 8, 27]"], desk.log


async def test_a_forked_child_may_print_but_not_ask(bench: Bench) -> None:
    body = """
    import multiprocessing
    from voxloom.runner import ImageSchema
    def child():
        print('print in child', flush=True)
        self.log_message('message in child')
        self.set_progress(0.5)
        try: self.fetch_data(['x'], ImageSchema)
        except ValueError as error: print(type(error).__name__, flush=True)
    process = multiprocessing.get_context('fork').Process(target=child)
    process.start(); process.join()
    return process.exitcode
    """
    ended, desk = await bench.run(bench.module(body))
    assert ended.outputs == ["0"], desk.log
    assert desk.lines == ["INFO print in child", "INFO message in child", "INFO NoRun"]


LEAVES_CHILD = "import subprocess; child = subprocess.Popen(['sleep', '600']); print('child', child.pid)\n"


def child_of(desk: Desk) -> int:
    return int(desk.log.rsplit("child ", 1)[1].split()[0])


async def test_killing_a_process_takes_its_children_along(bench: Bench) -> None:
    process = await bench.process()
    _, desk = await bench.run(bench.module(LEAVES_CHILD), process)
    await process.kill()
    await until(lambda: not is_running(child_of(desk)))


async def test_a_process_that_dies_leaves_no_children(bench: Bench) -> None:
    _, desk = await bench.run(bench.module(LEAVES_CHILD + "time.sleep(0.2); os._exit(1)"))
    await until(lambda: not is_running(child_of(desk)))


def is_running(pid: int) -> bool:
    """Whether there is such a process, zombies not counted."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


WORKER = """
import asyncio, sys
from pathlib import Path
from services.worker.guardian import Guardian
from services.worker.process import RunnerProcess
from voxloom.runner import frames

class Link:
    def progress(self, value): pass
    def logged(self, text): print(text, end="", flush=True)

async def main():
    process = await RunnerProcess.start(guardian=Guardian.start())
    frame = frames.Run(run="r", attempt=1, module_dir=sys.argv[1], device="cpu", input_dataset_ids=[], args={},
                       session_token="", scratch=sys.argv[2])
    await process.run(frame, Link())

asyncio.run(main())
"""


@pytest.fixture
def killed_later() -> Iterator[list[int]]:
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "then",
    [
        "time.sleep(600)",
        "import ctypes; ctypes.PyDLL(None).sleep(600)",
        "time.sleep(0.1); os.execvp('sleep', ['sleep', '600'])",
    ],
    ids=["asleep", "stuck in C with the lock", "another program by now"],
)
async def test_a_killed_worker_takes_its_runners_and_their_children_along(
    bench: Bench, then: str, killed_later: list[int]
) -> None:
    module = bench.module(f"{LEAVES_CHILD}print('me', os.getpid(), flush=True)\ntime.sleep(0.2)\n{then}")
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(module), str(bench.folder), stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    said = ""
    while "me " not in said:
        said += (await asyncio.wait_for(worker.stdout.readline(), DEADLINE)).decode()
    pids = [int(number) for number in re.findall(r"(?:child|me) (\d+)", said)]
    killed_later += pids
    await asyncio.sleep(0.5)  # until it has come to what it does then
    worker.kill()
    await worker.wait()
    await until(lambda: not any(is_running(pid) for pid in pids))
    assert len(pids) == 2


async def test_a_guardian_spares_what_was_dropped() -> None:
    guardian = Guardian.start()
    sleepers = [await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True) for _ in range(2)]
    for sleeper in sleepers:
        guardian.add(sleeper.pid)
    guardian.drop(sleepers[0].pid)
    guardian.close()
    killed = await asyncio.wait_for(sleepers[1].wait(), DEADLINE)
    spared = sleepers[0].returncode
    sleepers[0].kill()
    await sleepers[0].wait()
    assert (spared, killed) == (None, -signal.SIGKILL)


# --- what a runner may see --------------------------------------------------------------------------------


async def test_settings_and_credentials_of_the_worker_stay_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ["VOXLOOM_DATA", "AWS_SECRET_ACCESS_KEY", "AMQP_URL", "SOME_TOKEN", "PYTHONPATH"]
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    body = f"""
    leaked = [name for name in {secrets!r} if 'secret' in os.environ.get(name, '')]
    return leaked, os.environ['OMP_NUM_THREADS']
    """
    ended, _ = await bench.run(bench.module(body))
    assert ended.outputs == ["([], '3')"]


async def test_the_path_begins_with_the_module_and_holds_no_server(bench: Bench) -> None:
    module = bench.module(
        "return (sys.path[0], [p for p in sys.path if p in ('', os.getcwd()) or p.endswith('_server')])"
    )
    ended, _ = await bench.run(module)
    assert ended.outputs == [f"('{module}', [])"]


async def test_a_runner_holds_no_descriptors_of_its_worker(bench: Bench) -> None:
    with (bench.folder / "private").open("w"):
        ended, _ = await bench.run(
            bench.module("return sorted(os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd'))")
        )
    assert "private" not in ended.outputs[0]


async def test_many_runs_go_through_one_process_without_a_trace(bench: Bench) -> None:
    module, process, desk = bench.module("return 1"), await bench.process(), Desk(bench.folder)
    ends = [(await bench.run(module, process, desk))[0] for _ in range(200)]
    assert {ended.outcome for ended in ends} == {"completed"}
    assert desk.log == ""
