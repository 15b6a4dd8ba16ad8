"""What a run leaves in its process, in real ones: the next run finds it as if it were new, or gets another process."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.forkserver import Line
from tests import forking
from tests.contract.test_runner_process import DEADLINE, WORKER, Bench, Desk, is_running, runner_source, until
from tests.contract.test_runner_process import bench as bench
from tests.contract.test_runner_process import killed_later as killed_later
from voxloom.runner import children, frames, processstate

WITH_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
"""It takes seconds to load, and this process has no use for it."""

NOTICE = "The next run gets a new process"

# --- what is put back -------------------------------------------------------------------------------------

PUT_BACK = {
    "warnings as errors": ("import warnings", "warnings.filters[:1]", "warnings.simplefilter('error')"),
    "np.seterr": ("import numpy as np", "np.geterr()", "np.seterr(all='raise')"),
    "decimal": ("import decimal", "decimal.getcontext().prec", "decimal.getcontext().prec = 5"),
    "numpy's print options": ("import numpy as np", "str(np.array([1 / 3]))", "np.set_printoptions(precision=2)"),
    "a new variable": ("", "os.environ.get('MINE')", "os.environ['MINE'] = '1'"),
    "a variable that is gone": ("", "os.environ.get('PATH')", "del os.environ['PATH']"),
    "the time zone": ("", "time.localtime(0).tm_hour", "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()"),
    "the folder": ("", "os.listdir()", "os.chdir('/usr')"),
    "umask": ("", "os.umask(0o022)", "os.umask(0o077)"),
    "a limit": (
        "import resource as r",
        "r.getrlimit(r.RLIMIT_NOFILE)[0]",
        "r.setrlimit(r.RLIMIT_NOFILE, (64, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
    ),
    "a signal handler": ("import signal", "signal.getsignal(10)", "signal.signal(10, signal.SIG_IGN)"),
    "a blocked signal": ("import signal", "signal.pthread_sigmask(0, [])", "signal.pthread_sigmask(0, [10])"),
    "an alarm": ("import signal", "signal.alarm(0)", "signal.signal(14, lambda *_: None); signal.alarm(1000)"),
    "stdout": ("import io", "type(sys.stdout).__name__", "sys.stdout = sys.stderr = io.StringIO()"),
    "sys.path": ("", "sys.path[0]", "sys.path.insert(0, '/mine')"),
    "a module that is gone": ("import Runner as me", "sys.modules.get('Runner') is me", "del sys.modules['Runner']"),
    "a module of the run's folder": (
        "",
        "'mine' in sys.modules",
        "open('mine.py', 'w').close(); sys.path.insert(0, os.getcwd()); import mine",
    ),
    "the root's handlers": ("", "len(logging.root.handlers)", "logging.basicConfig(force=True)"),
    "a logger's handlers": (
        "",
        "len(logging.getLogger('mine').handlers)",
        "logging.getLogger('mine').addHandler(logging.StreamHandler())",
    ),
    "the level of a handler": (
        "",
        "[(h.level, h.filters, h.formatter) for h in logging.root.handlers]",
        "for h in logging.root.handlers: h.setLevel(50); h.addFilter(print); h.setFormatter(logging.Formatter())",
    ),
    "logging.disable": ("", "logging.root.manager.disable", "logging.disable(50)"),
    "locale": (
        "import locale",
        "locale.setlocale(0)",
        "locale.setlocale(0, 'POSIX' if old == 'C.UTF-8' else 'C.UTF-8')",
    ),
    "gc": ("import gc", "gc.isenabled(), gc.get_threshold()", "gc.disable(); gc.set_threshold(1)"),
    "the recursion limit": ("", "sys.getrecursionlimit()", "sys.setrecursionlimit(200)"),
    "faulthandler": ("import faulthandler", "faulthandler.is_enabled()", "faulthandler.disable()"),
    "sys.excepthook": ("", "sys.excepthook is sys.__excepthook__", "sys.excepthook = print"),
    "threading.excepthook": ("", "threading.excepthook is print", "threading.excepthook = print"),
    "a built-in": ("import builtins", "builtins.len is builtins.any", "builtins.len = any"),
    "an event loop": (
        "import asyncio",
        "asyncio.get_event_loop().is_closed()",
        "asyncio.get_event_loop().close(); asyncio.set_event_loop(None)",
    ),
    "how processes start": (
        "import multiprocessing as m",
        "m.get_start_method(allow_none=True)",
        "m.set_start_method('spawn')",
    ),
    "a seed": ("import random", "random.random() == 0.5714025946899135", "random.seed(10); random.seed(10)"),
    "numpy's seed": (
        "import numpy as np",
        "np.random.random() == 0.3745401188473625",
        "np.random.seed(42)",
    ),
    "a thread pool": (
        "import concurrent.futures as f",
        "threading.active_count()",
        "sys.kept = f.ThreadPoolExecutor(2); sys.kept.submit(time.time).result()",
    ),
    "what a thread changes as it ends": (
        "def late(): time.sleep(0.03); os.environ['MINE'] = '1'",
        "os.environ.get('MINE')",
        "threading.Thread(target=late).start()",
    ),
    "a resource tracker": (
        "from multiprocessing import resource_tracker as t, shared_memory as s",
        "t._resource_tracker._pid is None",
        "one = s.SharedMemory(create=True, size=8); one.close(); one.unlink()",
    ),
    "a fork server": (
        "import multiprocessing as m, multiprocessing.forkserver as f",
        "f._forkserver._forkserver_pid is None",
        "p = m.get_context('forkserver').Process(target=time.time); p.start(); p.join()",
    ),
    "a child that has ended": ("import subprocess as s", "0", "sys.kept = s.Popen(['true']); time.sleep(0.2)"),
}


@pytest.mark.parametrize(("first", "look", "change"), PUT_BACK.values(), ids=PUT_BACK.keys())
async def test_what_a_run_has_changed_is_put_back(bench: Bench, first: str, look: str, change: str) -> None:
    # Given a run that looks at something, and then changes it
    module = bench.module(f"{first}\nold = {look}\n{change}\nreturn old")
    process = await bench.process()
    ends = [await bench.run(module, process)]
    # When the next one looks in the same process
    assert ends[0][0].reusable, ends[0][1].log
    ends.append(await bench.run(module, process))
    # Then it sees what the first one saw
    outputs = [re.sub(r"0x\w+", "", str(ended.outputs)) for ended, _ in ends]
    assert (outputs[1], ends[1][0].error) == (outputs[0], None)


WITH_ASSETS = """
import os, random, subprocess, threading, time, warnings
import numpy as np
from voxloom import Runner as Base

class Runner(Base):
    def load_assets(self):
        warnings.simplefilter("ignore")
        np.seterr(all="ignore")
        np.random.seed(1)
        random.random()
        os.environ["MINE"] = "1"
        self.thread = threading.Thread(target=time.sleep, args=(600,), daemon=True)
        self.thread.start()
        self.child = subprocess.Popen(["sleep", "600"])

    def preprocess(self, input_data, args):
        return None

    def inference(self, data, args):
        there = self.thread.is_alive(), self.child.poll(), os.environ["MINE"], np.geterr()["divide"]
        return there, warnings.filters[0][0], np.random.random(), random.random()

    def postprocess(self, data, args):
        return [str(part) for part in data]
"""


async def test_what_load_assets_has_made_stays(bench: Bench) -> None:
    module, process = bench.module(Runner=WITH_ASSETS), await bench.process()
    ends = [(await bench.run(module, process))[0] for _ in range(3)]
    assert [ended.reusable for ended in ends] == [True] * 3
    assert [ended.outputs[:3] for ended in ends] == [ends[0].outputs[:3]] * 3
    assert ends[0].outputs[:2] == ["(True, None, '1', 'ignore')", "ignore"]


async def test_a_child_of_load_assets_stays_where_one_before_it_has_ended(bench: Bench) -> None:
    source = WITH_ASSETS.replace("self.child =", "self.ended = subprocess.Popen(['true']); self.child =")
    ended, desk = await bench.run(bench.module(Runner=source))
    assert (ended.outputs[0][:11], ended.reusable) == ("(True, None", True), desk.log


async def test_a_generator_that_nobody_has_seeded_gives_each_run_other_numbers(bench: Bench) -> None:
    module, process = bench.module(Runner=WITH_ASSETS), await bench.process()
    ends = [(await bench.run(module, process))[0] for _ in range(3)]
    assert len({ended.outputs[3] for ended in ends}) == 3


async def test_what_is_registered_for_the_end_of_the_process_waits_for_it(bench: Bench) -> None:
    ended_file = bench.folder / "ended"
    module = bench.module(f"import atexit; atexit.register(open, {str(ended_file)!r}, 'w')")
    process = await bench.process()
    for _ in range(2):
        ended, _ = await bench.run(module, process)
    there = ended_file.exists()
    await process.leave()
    assert (ended.reusable, there, ended_file.exists()) == (True, False, True)


def test_the_authors_guide_names_all_that_is_looked_at() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "authors.md").read_text()
    assert [one.name for one in processstate.ALL if one.name not in guide] == []


# --- what ends the use of a process -----------------------------------------------------------------------

ENDS_USE = {
    "a thread": ("threading.Thread(target=time.sleep, args=(600,), name='poller', daemon=True).start()", "'poller'"),
    "a thread without a name": (
        "import _thread; _thread.start_new_thread(time.sleep, (600,)); time.sleep(0.1)",
        "start_new_thread",
    ),
    "a busy thread pool": (
        "import concurrent.futures as f; sys.kept = f.ThreadPoolExecutor(1); sys.kept.submit(time.sleep, 600)",
        "ThreadPoolExecutor",
    ),
    "a nice value": ("os.nice(1)", "nice value"),
    "a closed descriptor": ("os.close(1)", "descriptors 0, 1 or 2"),
    "a hook that raises": ("sys.stdout = None; sys.modules['threading'].enumerate = None", "could not be cleaned"),
}


@pytest.mark.parametrize(("body", "word"), ENDS_USE.values(), ids=ENDS_USE.keys())
async def test_what_cannot_be_put_back_ends_the_use_of_the_process(bench: Bench, body: str, word: str) -> None:
    ended, desk = await bench.run(bench.module(body))
    assert (ended.outcome, ended.reusable) == ("completed", False), desk.log
    assert [line for line in desk.lines if line.startswith(f"INFO {NOTICE}: ") and word in line], desk.log


async def test_calls_of_a_thread_fail_once_its_run_is_over(bench: Bench) -> None:
    said = bench.folder / "said"
    body = f"""
    def poll():
        while True:
            try: self.set_progress(0.75)
            except BaseException as error:
                print('late')
                with open({str(said)!r}, 'w') as file: file.write(type(error).__name__)
                return
            time.sleep(0.001)
    threading.Thread(target=poll, daemon=True).start()
    self.set_progress(0.5)
    """
    ended, _ = await bench.run(bench.module(body))
    await until(lambda: said.exists() and said.read_text() != "")
    assert (said.read_text(), ended.outcome) == ("NoRun", "completed")


@pytest.mark.parametrize(
    "body",
    [
        "open(os.path.join(os.path.dirname(__file__), 'new.txt'), 'w').close()",
        "os.chmod(__file__, 0o600)",
        "open(__file__, 'a').write('#')",
        "os.unlink(__file__)",
        "os.mkdir(os.path.join(os.path.dirname(__file__), 'folder'))",
    ],
)
async def test_a_changed_folder_of_the_module_is_told(bench: Bench, body: str) -> None:
    ended, desk = await bench.run(bench.module(body))
    assert (ended.reusable, ended.module_changed) == (False, True)
    assert "files beside the module have changed: " in desk.log


async def test_what_python_caches_beside_the_module_is_no_change(bench: Bench) -> None:
    module, process = bench.module("import utils; return utils.x", utils="x = 1\n"), await bench.process()
    ended, _ = await bench.run(module, process)
    assert (ended.outputs, ended.reusable, (module / "__pycache__").exists()) == (["1"], True, True)


# --- children ---------------------------------------------------------------------------------------------

SLEEP = "os.execvp('sleep', ['sleep', '600'])"
CHILDREN = {
    "Popen": "import subprocess; say(subprocess.Popen(['sleep', '600']).pid)",
    "a session of its own": "import subprocess; say(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)",
    "a pool that is not closed": """
import multiprocessing
sys.kept = multiprocessing.get_context('fork').Pool(2)
for pid in sys.kept.map(pid_of, range(2)): say(pid)
""",
    "50 forks": f"""
for _ in range(50):
    pid = os.fork()
    if not pid: {SLEEP}
    say(pid)
""",
    "a daemon": f"""
reading, writing = os.pipe()
if not os.fork():
    os.setsid()
    if os.fork(): os._exit(0)
    os.write(writing, str(os.getpid()).encode())
    os.close(writing)
    {SLEEP}
os.wait()
say(os.read(reading, 20).decode())
""",
    "a process of a fork server": """
import multiprocessing
one = multiprocessing.get_context('forkserver').Process(target=time.sleep, args=(600,))
one.start()
say(one.pid)
""",
    "one that poses as a resource tracker": """
import subprocess
from multiprocessing.resource_tracker import _resource_tracker
_resource_tracker._pid = subprocess.Popen(['sleep', '600']).pid
say(_resource_tracker._pid)
""",
    "deaf to SIGTERM": "import subprocess; say(subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 600']).pid)",
    "a tree": "import subprocess; say(subprocess.Popen(['sh', '-c', '(sleep 600 & sleep 600) & wait']).pid)",
}
LEAVING = "def say(pid): os.write(1, f'left {pid}\\n'.encode())\n"


def leaving(bench: Bench, body: str) -> Path:
    source = runner_source(LEAVING + body)
    return bench.module(Runner=source.replace("def square", "def pid_of(_):\n    return os.getpid()\n\ndef square"))


def left(log: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"left (\d+)", log)]


@pytest.mark.parametrize("body", CHILDREN.values(), ids=CHILDREN.keys())
async def test_no_process_of_a_run_outlives_it(bench: Bench, body: str, killed_later: list[int]) -> None:
    ended, desk = await bench.run(leaving(bench, body))
    killed_later += left(desk.log)
    assert left(desk.log)
    assert [pid for pid in left(desk.log) if is_running(pid)] == [], desk.log
    assert (ended.outcome, ended.reusable) == ("completed", False)
    assert "the run has left the process" in desk.log


def test_where_there_is_no_proc_the_table_of_processes_is_what_ps_says() -> None:
    said = "    1     0 Ss   /sbin/launchd\n  312     1 Z    (sleep)\n  313   312 R+   /usr/bin/a tool\n"
    assert dict(children.parse_ps(said)) == {
        1: children.Row(0, False, "launchd"),
        312: children.Row(1, True, "(sleep)"),
        313: children.Row(312, False, "a tool"),
    }


def test_a_process_may_be_called_anything() -> None:
    assert children.parse_stat(b"7 (a ) S 1 (b) Z 5 7 7") == children.Row(5, True, "a ) S 1 (b")


def test_what_is_spared_is_spared_with_all_below_it() -> None:
    parents = {2: 1, 3: 2, 4: 1, 5: 4, 6: 9}
    table = {pid: children.Row(parent, False, "") for pid, parent in parents.items()}
    assert children.below(table, 1, {4}) == {2, 3}


BEHIND_ONE_THAT_IS_SPARED = """
import os, subprocess, time
from voxloom.runner import children
first = subprocess.Popen(["true"])
time.sleep(0.2)
spared = {first.pid}
for _ in range(3):
    if not os.fork(): os._exit(0)
time.sleep(0.2)
children.reap_ended(spared, {})
print(children.direct(spared), children.direct(()) == spared)
"""


def test_ended_children_are_reaped_also_behind_one_that_is_spared() -> None:
    assert subprocess.check_output([sys.executable, "-c", BEHIND_ONE_THAT_IS_SPARED], text=True) == "set() True\n"


HOPPER = """
import subprocess
hop = "if os.fork(): os._exit(0)"
code = f"import os\\nwhile True:\\n    {hop}\\n    os.setsid(); os.close(os.open('{}', os.O_CREAT, 0o600))"
subprocess.Popen([sys.executable, '-c', code])
while not os.path.exists('{}'): time.sleep(0.01)
"""


async def test_one_that_forks_and_ends_all_the_time_is_ended_too(bench: Bench) -> None:
    trace = str(bench.folder / "hop")
    ended, desk = await bench.run(bench.module(HOPPER.replace("{}", trace)))
    os.unlink(trace)
    await asyncio.sleep(0.1)
    assert (ended.reusable, os.path.exists(trace)) == (False, False), desk.log


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)"])
async def test_a_process_that_dies_leaves_no_daemon(bench: Bench, end: str, killed_later: list[int]) -> None:
    ended, desk = await bench.run(leaving(bench, f"{CHILDREN['a daemon']}\n{end}"))
    killed_later += left(desk.log)
    assert ended.outcome == "failed"
    assert [is_running(pid) for pid in left(desk.log)] == [False]


async def test_killing_a_process_takes_its_daemons_along(bench: Bench, killed_later: list[int]) -> None:
    process, desk = await bench.process(), Desk(bench.folder)
    module = leaving(bench, CHILDREN["a daemon"] + "print('ready')\ntime.sleep(600)")
    run = asyncio.create_task(process.run(bench.frame(module), desk))
    await desk.until_log_has("ready")
    killed_later += left(desk.log)
    await process.kill()
    await asyncio.wait_for(run, DEADLINE)
    assert [is_running(pid) for pid in left(desk.log)] == [False]


async def test_killing_a_process_leaves_those_alone_that_were_forked_next(
    bench: Bench, killed_later: list[int]
) -> None:
    # Given a run with a child, and other processes whose numbers, or those of their threads, are the next ones
    process, desk = await bench.process(), Desk(bench.folder)
    run = asyncio.create_task(process.run(bench.frame(leaving(bench, f"{CHILDREN['Popen']}\ntime.sleep(600)")), desk))
    await desk.until_log_has("left")
    killed_later += left(desk.log)
    others = [await bench.process() for _ in range(3)]
    # When the first one is killed, its child with it
    await process.kill()
    await asyncio.wait_for(run, DEADLINE)
    # Then the others live
    ended = [(await bench.run(bench.module("return 1"), other))[0].outputs for other in others]
    assert ended == [["1"]] * 3


FORKING_WORKER = WORKER.replace(
    "guardian=Guardian.start()",
    "guardian=Guardian.start(), forks=__import__('shared.forkserver').forkserver.ForkServer()",
)


@pytest.mark.parametrize(
    ("worker", "then"),
    [
        (FORKING_WORKER, "time.sleep(600)"),
        (FORKING_WORKER, "import ctypes; ctypes.PyDLL(None).sleep(600)"),
        (WORKER, "time.sleep(600)"),
    ],
    ids=["forked", "forked, stuck in C with the lock", "begun from nothing"],
)
async def test_a_daemon_does_not_outlive_a_killed_worker(
    bench: Bench, worker: str, then: str, killed_later: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "open", forking.USUAL)
    module = leaving(bench, f"{CHILDREN['a daemon']}\nprint('ready', flush=True)\ntime.sleep(0.2)\n{then}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", worker, str(module), str(bench.folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = ""
    while "ready" not in said:
        said += (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
    killed_later += left(said)
    await asyncio.sleep(0.5)  # until it has come to what it does then
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: not any(map(is_running, left(said))))
    assert len(left(said)) == 1


# --- libraries --------------------------------------------------------------------------------------------


async def reused(bench: Bench, body: str) -> tuple[list[frames.Ended], str]:
    module, process = bench.module(body), await bench.process()
    log = ""
    ends = []
    for _ in range(2):
        ended, desk = await bench.run(module, process)
        log += desk.log
        ends.append(ended)
    return ends, log


KEPT_POOL = """
import concurrent.futures
from voxloom import Runner as Base

class Runner(Base):
    def load_assets(self):
        self.pool = concurrent.futures.{kind}(4)
        {first}

    def preprocess(self, input_data, args):
        return [-1, -2, -3, -4]

    def inference(self, data, args):
        return list(self.pool.map(abs, data))

    def postprocess(self, data, args):
        return [str(data)]
"""


@pytest.mark.parametrize("first", ["pass", "self.pool.submit(abs, -1).result()"], ids=["no work yet", "some work"])
async def test_a_thread_pool_that_is_kept_works_in_all_runs(bench: Bench, first: str) -> None:
    source = KEPT_POOL.format(kind="ThreadPoolExecutor", first=first)
    module, process = bench.module(Runner=source), await bench.process()
    ends = [await bench.run(module, process) for _ in range(3)]
    outputs = [(ended.outputs, ended.reusable) for ended, _ in ends]
    assert outputs == [(["[1, 2, 3, 4]"], True)] * 3, [desk.log for _, desk in ends]


async def test_a_pool_of_processes_that_is_kept_ends_the_use_of_the_process(bench: Bench) -> None:
    source = KEPT_POOL.format(kind="ProcessPoolExecutor", first="pass")
    ended, desk = await bench.run(bench.module(Runner=source))
    assert (ended.outputs, ended.reusable) == (["[1, 2, 3, 4]"], False)
    assert f"INFO {NOTICE}: the run has kept a ProcessPoolExecutor." in desk.log


async def test_a_pool_of_processes_that_nobody_has_any_more_does_not(bench: Bench) -> None:
    body = "import concurrent.futures as f; return list(f.ProcessPoolExecutor(2).map(abs, [-1, -2]))"
    ends, log = await reused(bench, body)
    assert [(ended.outputs, ended.reusable) for ended in ends] == [(["[1, 2]"], True)] * 2, log


async def test_workers_of_joblib_are_ended_and_the_process_serves_on(bench: Bench) -> None:
    pytest.importorskip("joblib")
    body = "import joblib; return joblib.Parallel(2)(joblib.delayed(abs)(n) for n in (-1, -2))"
    ends, log = await reused(bench, body)
    assert [(ended.outputs, ended.reusable) for ended in ends] == [(["[1, 2]"], True)] * 2, log
    assert log == ""


async def test_arrays_that_joblib_shares_are_removed_without_a_word(bench: Bench) -> None:
    pytest.importorskip("joblib")
    body = """
    import joblib, numpy as np
    return int(sum(joblib.Parallel(2)(2 * [joblib.delayed(np.sum)(np.ones(1 << 20))])))
    """
    module, process = bench.module(body), await bench.process()
    for _ in range(2):
        ended, desk = await bench.run(module, process)
        assert (ended.outputs, ended.reusable, desk.log) == (["2097152"], True, "")
        assert [*Path("/dev/shm").glob(f"joblib_memmapping_folder_{process.pid}_*")] == []


async def test_the_monitor_of_tqdm_is_ended_and_the_process_serves_on(bench: Bench) -> None:
    pytest.importorskip("tqdm")
    body = "import tqdm; list(tqdm.tqdm(range(3))); return sorted(t.name for t in threading.enumerate())"
    ends, log = await reused(bench, body)
    assert [ended.reusable for ended in ends] == [True] * 2, log
    assert ends[0].outputs == ends[1].outputs


@WITH_TORCH
async def test_workers_of_a_data_loader_are_ended_and_the_process_serves_on(bench: Bench) -> None:
    body = """
    import torch.utils.data as data
    if not hasattr(sys, 'kept'):
        sys.kept = data.DataLoader([1, 2, 3, 4], num_workers=1, persistent_workers=True)
    return [int(one) for one in sys.kept]
    """
    ends, log = await reused(bench, body)
    assert [(ended.outputs, ended.reusable) for ended in ends] == [(["[1, 2, 3, 4]"], True)] * 2, log


@WITH_TORCH
async def test_a_seed_of_torch_is_not_the_next_runs(bench: Bench) -> None:
    body = "import torch; drawn = torch.rand(1).item(); torch.manual_seed(3); torch.rand(1); return drawn"
    ends, _ = await reused(bench, body)
    ends += (await reused(bench, body))[0]
    assert len({ended.outputs[0] for ended in ends}) == 4


TORCH_THAT_WARNS = """
import torch
from voxloom import Runner as Base

class Runner(Base):
    def load_assets(self):
        torch.use_deterministic_algorithms(True, warn_only=True)

    def preprocess(self, input_data, args):
        torch.set_grad_enabled(False)

    def inference(self, data, args):
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def postprocess(self, data, args):
        return [str(data)]
"""


@WITH_TORCH
async def test_torch_goes_on_only_warning_of_what_is_not_deterministic(bench: Bench) -> None:
    module, process = bench.module(Runner=TORCH_THAT_WARNS), await bench.process()
    ends = [(await bench.run(module, process))[0] for _ in range(2)]
    assert [ended.outputs for ended in ends] == [["(True, True)"]] * 2
