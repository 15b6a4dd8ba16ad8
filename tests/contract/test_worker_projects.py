"""Folders of a worker that runs can write: what a run of one project does there, no run of another sees."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services.worker import attempt
from services.worker.data import Materials
from services.worker.pool import Pool
from services.worker.tree_files import LINKED_FROM
from services.worker.trees import Trees, look_over
from shared import algorithms
from tests.contract.test_worker_data import Node
from tests.contract.test_worker_data import node as node
from tests.contract.worker_world import worker_world
from voxloom.errors import Damaged
from voxloom.ids import new_id


def spoil(folder: Path) -> None:
    """Whatever a run may write there."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.chmod(0o644)
        path.write_bytes(b"spoilt")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "Runner.cpython-311.pyc").write_bytes(b"spoilt")


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_what_one_project_does_to_its_folder_no_other_runs(node: Node) -> None:
    large = b"w" * LINKED_FROM
    pin = await node.deploy({"Runner.py": "x = 1"}, {"files/small": b"s"})
    # Given two projects that run the same bytes, one of which spoils what it was given
    theirs, asset = await node.tree(pin, project="lab1"), await (await node.begin(project="lab1")).asset("files/small")
    before = await node.tree(pin, project="lab2")
    spoil(theirs)
    asset.chmod(0o644)
    asset.write_bytes(b"spoilt")
    # Then the other has it as it was deployed: what it had before, and what is put together after that
    learnt = hashlib.sha256(large).hexdigest()
    await node.store.put(algorithms.ASSETS, learnt, large)
    after = await node.tree(pin, {"files/small": learnt}, project="lab2")
    whole = {"Runner.py": b"x = 1", "files/small": b"s"}
    assert (read(before), read(after)) == (whole, {**whole, "files/small": large})
    assert (await (await node.begin(project="lab2")).asset("files/small")).read_bytes() == b"s"


@pytest.mark.parametrize("size", [1, LINKED_FROM])
async def test_an_asset_that_a_run_has_changed_is_given_to_no_other_as_it_is(node: Node, size: int) -> None:
    pin = await node.deploy({}, {"files/a": b"a" * size})
    asset = await (await node.begin()).asset("files/a")
    asset.chmod(0o644)
    if size == 1:
        asset.write_bytes(b"spoilt")
        assert (await (await node.begin()).asset("files/a")).read_bytes() == b"a"
        return
    # A large one is the store's own file: the store tells what it is by its digest, and no run gets it
    with asset.open("r+b") as file:
        file.write(b"spoilt")
    with pytest.raises(Damaged):
        await (await node.begin()).asset("files/a")
    assert pin == node.pin


async def test_a_folder_that_another_projects_run_has_reached_is_given_to_no_run(node: Node) -> None:
    pin = await node.deploy({"Runner.py": "x = 1"}, {})
    pool, trees = Pool(warm=0), node.materials.trees
    folder = await node.tree(pin, project="lab2")
    await look_over(pool, trees, folder.name)
    assert await node.tree(pin, project="lab2") == folder
    # When somebody writes there whose process says nothing of it
    (folder / "Runner.py").write_text("x = 2")
    # Then it is given up, and what comes in its place is as it was deployed
    await look_over(pool, trees, folder.name)
    assert (await node.tree(pin, project="lab2") / "Runner.py").read_text() == "x = 1"
    assert not folder.exists()


async def test_what_is_given_up_in_one_project_stays_in_another(node: Node) -> None:
    pin = await node.deploy({"Runner.py": ""}, {})
    mine, theirs = [await node.tree(pin, project=project) for project in ("lab1", "lab2")]
    node.materials.trees.give_up(node.materials.trees.generation_of(mine.name))
    again = [await node.tree(pin, project=project) for project in ("lab1", "lab2")]
    assert (again[0] == mine, again[1] == theirs) == (False, True)


async def test_nothing_of_an_earlier_life_is_given_to_a_run(node: Node) -> None:
    pin = await node.deploy({"Runner.py": "x = 1"}, {"files/a": b"a"})
    run = await node.begin()
    (await run.tree() / "Runner.py").write_text("x = 2")
    (await run.asset("files/a")).write_bytes(b"spoilt")
    node.materials = Materials(node.store, node.store.scratch)
    await node.materials.open()
    run = await node.begin()
    found = (await run.tree() / "Runner.py").read_text(), (await run.asset("files/a")).read_bytes()
    assert (found, pin) == (("x = 1", b"a"), node.pin)


async def test_a_folder_is_looked_over_before_a_run_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    async def give_up(_pool: Pool, trees: Trees, name: str) -> None:
        looked.append(name)
        trees.give_up(trees.generation_of(name))

    monkeypatch.setattr(attempt, "look_over", give_up)
    async with worker_world(tmp_path, monkeypatch) as world:
        process = await world.begin(run := new_id())
        process.end()
        await world.report(run)
    # And the process is one for the folder that came in its place
    assert (looked, [key.module.endswith(".1") for key in world.pool.keys]) == ([tmp_path.name], [True])
