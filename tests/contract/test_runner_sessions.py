"""Sessions in real runner processes: items are live objects there, and go from one process to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.process import RunnerProcess
from tests.contract.test_runner_process import Bench, Desk
from tests.contract.test_runner_process import bench as bench

COUNT = """
try: counts = self.load_item_from_session("counts")
except KeyError: self.save_item_to_session(counts := [], "counts")
counts.append(len(counts))
return counts
"""


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk(bench.folder)


async def said(bench: Bench, desk: Desk, module: Path, process: RunnerProcess | None = None) -> list[str]:
    ended, _ = await bench.run(module, process, desk)
    assert ended.outcome == "completed", desk.log
    return ended.outputs


async def test_an_item_is_the_object_itself_and_a_change_needs_no_saving(bench: Bench, desk: Desk) -> None:
    module, process = bench.module(COUNT), await bench.process()
    assert [await said(bench, desk, module, process) for _ in range(3)] == [["[0]"], ["[0, 1]"], ["[0, 1, 2]"]]


async def test_items_go_to_other_processes_and_to_other_algorithms(bench: Bench, desk: Desk) -> None:
    first, second = bench.module(COUNT), bench.module("# another\n" + COUNT)
    processes = [await bench.process() for _ in range(2)]
    told = [
        await said(bench, desk, first, processes[0]),
        await said(bench, desk, second, processes[1]),
        await said(bench, desk, first, processes[0]),
    ]
    assert told == [["[0]"], ["[0, 1]"], ["[0, 1, 2]"]]


async def test_what_has_not_changed_is_not_written_again(bench: Bench, desk: Desk) -> None:
    process = await bench.process()
    module = bench.module(
        """
        try: return self.load_item_from_session("a")
        except KeyError: self.save_item_to_session({"a": 1}, "a")
        """
    )
    for _ in range(3):
        await said(bench, desk, module, process)
    assert desk.stored == ["a"]


async def test_what_cannot_be_written_down_stays_where_it_is_and_that_is_said(bench: Bench, desk: Desk) -> None:
    body = """
    import threading
    try: return type(self.load_item_from_session("lock")).__name__
    except KeyError: self.save_item_to_session(threading.Lock(), "lock")
    return "new"
    """
    module = bench.module(body)
    here, there = await bench.process(), await bench.process()
    told = [await said(bench, desk, module, process) for process in (here, here, there)]
    assert told == [["new"], ["lock"], ["new"]]
    assert "WARNING The session's item 'lock' stays in this process" in desk.log


async def test_an_item_of_a_class_that_another_algorithm_lacks_is_a_key_error_that_says_so(
    bench: Bench, desk: Desk
) -> None:
    makes = bench.module("import own; self.save_item_to_session(own.Own(), 'own')", own="class Own: pass")
    await said(bench, desk, makes)
    takes = bench.module("try: self.load_item_from_session('own')\nexcept KeyError as error: return str(error)")
    assert "cannot be used here" in (await said(bench, desk, takes))[0]


async def test_a_removed_item_is_gone_everywhere(bench: Bench, desk: Desk) -> None:
    await said(bench, desk, bench.module("self.save_item_to_session(1, 'a'); self.save_item_to_session(2, 'b')"))
    await said(bench, desk, bench.module("self.remove_item_from_session('a'); self.remove_item_from_session('x')"))
    assert list(desk.session) == ["b"]


async def test_a_sixth_item_pushes_out_the_oldest(bench: Bench, desk: Desk) -> None:
    await said(bench, desk, bench.module("for n in range(6): self.save_item_to_session(n, str(n))"))
    assert sorted(desk.session) == ["1", "2", "3", "4", "5"]


async def test_a_run_that_uses_no_session_asks_for_nothing(bench: Bench, desk: Desk) -> None:
    desk.session_index = None  # type: ignore[method-assign, assignment]
    assert await said(bench, desk, bench.module("return 'done'")) == ["done"]


async def test_keys_are_text(bench: Bench, desk: Desk) -> None:
    module = bench.module("try: self.save_item_to_session(1, 2)\nexcept ValueError as error: return str(error)")
    assert "named by text" in (await said(bench, desk, module))[0]


async def test_a_training_has_no_session(bench: Bench, desk: Desk) -> None:
    source = (
        "from voxloom import Runner as Base\nclass Runner(Base):\n"
        "    def preprocess(self, input_data, args): pass\n"
        "    inference = postprocess = preprocess\n"
        "    def train(self, ids, args): self.save_item_to_session(1, 'a')\n"
    )
    ended, _ = await bench.run(bench.module(Runner=source), desk=desk, task="training")
    assert ended.error is not None
    assert ended.error.code == "task_session_not_initialized"
