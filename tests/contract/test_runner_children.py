"""Processes that a run starts, in real runner processes: pools and loaders of every kind, wherever the data lies."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from services.worker.guardian import Guardian
from services.worker.process import RunnerProcess
from tests.contract.test_runner_process import Bench
from tests.contract.test_runner_process import bench as bench

LONG = "a-folder-for-data-with-a-name-that-is-far-longer-than-an-address-of-a-socket-may-be-" + "x" * 40
FORKED = """
import multiprocessing
with multiprocessing.get_context('fork').Manager() as manager:
    return list(manager.list([1, 4]))
"""
SERVED = """
import multiprocessing
with multiprocessing.get_context('forkserver').Pool(1) as pool:
    return pool.map(square, [1, 2])
"""


def long_scratch(bench: Bench) -> Path:
    scratch = bench.folder / LONG / str(len(list(bench.folder.glob("*/*"))))
    scratch.mkdir(parents=True)
    return scratch


@pytest.mark.parametrize("body", [FORKED, SERVED], ids=["a manager", "a fork server"])
async def test_children_work_wherever_the_runs_folder_is_and_in_every_run(bench: Bench, body: str) -> None:
    module, process = bench.module(body), await bench.process()
    outputs = []
    for _ in range(2):
        ended, desk = await bench.run(module, process, scratch=str(long_scratch(bench)))
        outputs += ended.outputs or [desk.log]
    assert outputs == ["[1, 4]"] * 2


async def test_temporary_files_lie_in_the_runs_folder_however_long_its_path_is(bench: Bench) -> None:
    scratch = long_scratch(bench)
    body = "import tempfile; open(tempfile.mkstemp()[1], 'w').write('x'); open('here', 'w'); return os.getcwd()"
    ended, _ = await bench.run(bench.module(body), scratch=str(scratch))
    assert ended.outputs == [str(scratch.resolve())]
    assert (len(list(scratch.iterdir())), (scratch / "here").exists()) == (2, True)


async def test_a_guardian_removes_what_a_dead_worker_leaves(tmp_path: Path) -> None:
    (tmp_path / "home" / "sub").mkdir(parents=True)
    guardian, left = Guardian.start(), subprocess.Popen(["sleep", "60"], start_new_session=True)
    guardian.add(left.pid, str(tmp_path / "home"))
    guardian.close()
    assert (left.wait(10), (tmp_path / "home").exists()) == (-signal.SIGKILL, False)


async def test_what_a_process_has_for_itself_goes_with_it(bench: Bench) -> None:
    module = bench.module("import multiprocessing.util as util; return util.get_temp_dir()")
    process = await RunnerProcess.start()
    ended, _ = await bench.run(module, process)
    there = os.path.isdir(ended.outputs[0])
    await process.kill()
    assert (there, os.path.exists(ended.outputs[0])) == (True, False)
