"""What a training reads and saves through its worker, on a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from messages.base import Event
from messages.runs import RunHandedOver, Work
from messages.trainings import Checkpoint, TrainingCheckpointDropped, TrainingCheckpointSaved
from services.worker.training import Learning, beginning_of, saved_before
from shared import checkpoints, samples
from shared.algorithms import ASSETS
from tests.contract.test_worker_data import Node
from tests.contract.test_worker_data import node as node
from tests.unit.memory_platform import WORK
from tests.unit.training_samples import checkpoint_of
from voxloom.errors import InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.models import SampleRecord

RUN = new_id()


class Said:
    """Takes what would go to the bus."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, *events: Event, soon: bool = False) -> None:
        self.events += events


class Bench:
    def __init__(self, node: Node, scratch: Path) -> None:
        self.node = node
        self.scratch = scratch
        self.said = Said()
        self.work: Work = WORK

    def assignment(self, attempt: int = 1) -> RunHandedOver:
        return RunHandedOver(
            task="training",
            subject=RUN,
            attempt=attempt,
            epoch=1,
            worker_id="w",
            incarnation="i",
            device_class="cpu",
            work=self.work,
        )

    def learning(self, beginning: Checkpoint | None = None) -> Learning:
        said: Any = self.said
        return Learning(self.node.store, self.node.materials, said, self.assignment(), beginning, self.scratch)

    def write(self, name: str, content: bytes) -> str:
        (self.scratch / name).write_bytes(content)
        return str(self.scratch / name)


@pytest.fixture
async def bench(node: Node, tmp_path: Path) -> Bench:
    made = Bench(node, tmp_path / "work")
    made.scratch.mkdir()
    pin = await node.deploy({}, {"files/a": b"a0", "files/b": b"b0"})
    made.work = WORK.model_copy(update={"task": "training", "algorithm": pin, "tags": ["t"]})
    return made


async def test_a_checkpoint_is_kept_then_told_and_can_be_laid_over(bench: Bench) -> None:
    checkpoint_id = await bench.learning().checkpoint({"files/a": bench.write("x", b"a1")}, {"dice": 0.5})
    (event,) = bench.said.events
    assert isinstance(event, TrainingCheckpointSaved)
    assert event.checkpoint == await checkpoints.load(bench.node.store, checkpoint_id)
    told = event.checkpoint
    assert (told.tags, told.properties, told.asset_bytes) == (["t"], {"dice": 0.5}, 2)
    assert told.asset_sizes == {told.assets["files/a"]: 2}
    run = await bench.node.begin()
    run.lay_over(event.checkpoint.assets)
    assert [(await run.asset(path)).read_bytes() for path in ("files/a", "files/b")] == [b"a1", b"b0"]


async def test_what_a_training_began_with_goes_on_to_hold(bench: Bench) -> None:
    beginning = checkpoint_of({"files/b": "b" * 64}, asset_sizes={"b" * 64: 7})
    checkpoint_id = await bench.learning(beginning).checkpoint({"files/a": bench.write("x", b"a1")}, {})
    saved = await checkpoints.load(bench.node.store, checkpoint_id)
    assert (set(saved.assets), saved.assets["files/b"]) == ({"files/a", "files/b"}, "b" * 64)
    assert saved.asset_sizes == {"b" * 64: 7, saved.assets["files/a"]: 2}


async def test_only_assets_of_the_algorithm_can_be_saved_and_nothing_is_left(bench: Bench) -> None:
    given = {"files/a": bench.write("x", b"a1"), "files/new": bench.write("y", b"n")}
    with pytest.raises(InvalidInput) as raised:
        await bench.learning().checkpoint(given, {})
    assert raised.value.code == "checkpoint_asset_path_invalid"
    assert [one async for one in checkpoints.list_checkpoints(bench.node.store)] == []


async def test_contents_have_to_lie_in_the_runs_own_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (bench.scratch / "link").symlink_to(tmp_path / "secret")
    for place in (str(tmp_path / "secret"), str(bench.scratch / "link"), f"{bench.scratch}/../secret", str(tmp_path)):
        with pytest.raises(InvalidInput):
            await bench.learning().checkpoint({"files/a": place}, {})
    assert not [item for item in (await bench.node.store.list(ASSETS)).items if item.size == len(b"secret")]


async def test_a_checkpoint_that_is_taken_back_is_gone_and_told(bench: Bench) -> None:
    learning = bench.learning()
    checkpoint_id = await learning.checkpoint({"files/a": bench.write("x", b"a1")}, {})
    await learning.drop_checkpoint(checkpoint_id)
    assert isinstance(bench.said.events[-1], TrainingCheckpointDropped)
    for gone in (checkpoint_id, new_id()):
        with pytest.raises(NotFound):
            await learning.drop_checkpoint(gone)
    assert await checkpoints.of_training(bench.node.store, RUN) == []


async def test_samples_are_those_of_the_project(bench: Bench) -> None:
    mine, theirs = (
        SampleRecord(sample_id=new_id(), files=[{"image": ["f"]}], tags=["x"], time_created="t", project=project)
        for project in ("default", "other")
    )
    for sample in (mine, theirs):
        await samples.save(bench.node.store, sample)
    assert await bench.learning().samples([mine.sample_id]) == [mine.model_dump(exclude={"project"})]
    for unknown in (theirs.sample_id, new_id(), "../x"):
        with pytest.raises(NotFound):
            await bench.learning().samples([unknown])


async def test_a_later_attempt_begins_with_what_was_saved_last(bench: Bench) -> None:
    # Given a training that was asked to begin with a checkpoint, and has saved two of its own
    given = checkpoint_of({"files/a": "0" * 64})
    await checkpoints.save(bench.node.store, given)
    bench.work = bench.work.model_copy(update={"checkpoint_id": given.checkpoint_id})
    for content in (b"a1", b"a2"):
        await bench.learning().checkpoint({"files/a": bench.write("x", content)}, {})
    saved = [event.checkpoint for event in bench.said.events if isinstance(event, TrainingCheckpointSaved)]
    # Then its first attempt begins with the one, and its second with the newest
    beginnings = []
    for attempt in (1, 2):
        before = await saved_before(bench.node.store, bench.assignment(attempt))
        beginnings.append(await beginning_of(bench.node.store, bench.assignment(attempt), before))
    assert beginnings == [given, saved[-1]]


async def test_a_checkpoint_that_is_gone_is_not_found(bench: Bench) -> None:
    bench.work = bench.work.model_copy(update={"checkpoint_id": new_id()})
    with pytest.raises(NotFound):
        await beginning_of(bench.node.store, bench.assignment(), [])
