"""What the gateway knows of algorithms and their checkpoints, and when it looks into the store again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messages.base import Event
from messages.checkpoints import CheckpointDeleted
from messages.deploys import AlgorithmDeleted
from messages.runs import Result, RunFailed, RunStateSet
from messages.trainings import Checkpoint, TrainingCheckpointDropped, TrainingCheckpointSaved
from services.gateway.views.algorithms import Kept, KnownAlgorithms
from shared import algorithms, checkpoints
from shared.caller import LOCAL
from shared.checkpoints import KnownCheckpoints
from shared.versions import Content, Deploy
from tests.unit.memory_platform import MemoryStore
from tests.unit.training_samples import checkpoint_of
from voxloom.manifest import Manifest
from voxloom.models import StorageMetrics, utc_now

CHANGES: list[Callable[[Checkpoint], Event]] = [
    lambda one: TrainingCheckpointSaved(subject=one.training_id, checkpoint=one),
    lambda one: TrainingCheckpointDropped(subject=one.training_id, checkpoint_id=one.checkpoint_id),
    lambda one: CheckpointDeleted(subject=one.checkpoint_id),
    lambda one: RunFailed(task="training", subject=one.training_id, epoch=1, result=Result()),
]


class World:
    """One algorithm, its id, and the operations on the store since `looked` was emptied."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.known = KnownAlgorithms(self.store, KnownCheckpoints(self.store))
        self.looked: list[str] = []
        self.store.before = lambda what, key: self.looked.append(f"{what} {key}")
        self.algorithm_id = ""

    async def deploy(self) -> None:
        content = Content("module", "assets", module_bytes=10, asset_bytes=100, asset_count=2)
        manifest = Manifest(name="denoise", major="1", minor="0")
        deployed = await algorithms.add_minor(self.store, Deploy("d", "default", manifest, content, utc_now()))
        self.algorithm_id = deployed.entry.algorithm_id

    async def save(self) -> Checkpoint:
        checkpoint = checkpoint_of({"w": "c"}, algorithm_id=self.algorithm_id, asset_sizes={"c": 7})
        await checkpoints.save(self.store, checkpoint)
        return checkpoint

    async def metrics(self) -> StorageMetrics:
        (listed,) = await self.known.records(LOCAL)
        one = await self.known.record(LOCAL, await self.known.get(LOCAL, self.algorithm_id))
        assert one == listed
        return one.storage_metrics


@pytest.fixture
async def world() -> World:
    made = World()
    await made.deploy()
    return made


@pytest.mark.parametrize("change", CHANGES)
async def test_checkpoints_are_read_again_when_one_has_changed(
    world: World, change: Callable[[Checkpoint], Event]
) -> None:
    await world.metrics()

    world.known.hear(change(await world.save()))

    assert ((await world.metrics()).checkpoint_count, (await world.metrics()).asset_bytes) == (1, 107)


async def test_a_checkpoint_that_is_gone_is_counted_no_more(world: World) -> None:
    before = await world.metrics()
    checkpoint = await world.save()
    world.known.hear(CHANGES[0](checkpoint))
    assert await world.metrics() != before

    await checkpoints.remove(world.store, checkpoint)
    world.known.hear(CHANGES[2](checkpoint))

    assert await world.metrics() == before


async def test_checkpoints_of_other_algorithms_do_not_count(world: World) -> None:
    other = checkpoint_of({"w": "c"}, algorithm_id="another")
    await checkpoints.save(world.store, other)

    assert (await world.metrics()).checkpoint_count == 0


async def test_the_store_is_not_asked_as_long_as_nothing_has_changed(world: World) -> None:
    checkpoint = await world.save()
    await world.metrics()
    world.looked.clear()

    world.known.hear(RunStateSet(task="training", subject=checkpoint.training_id, state={}))
    world.known.hear(RunFailed(subject="execution", epoch=1, result=Result()))
    await world.metrics()

    assert world.looked == []


async def test_a_new_checkpoint_lets_no_algorithm_be_read_again(world: World) -> None:
    await world.metrics()
    checkpoint = await world.save()
    world.looked.clear()

    world.known.hear(CHANGES[0](checkpoint))
    await world.metrics()

    assert world.looked == ["list manifests/", f"get manifests/{checkpoint.checkpoint_id}"]


async def test_a_removed_algorithm_is_listed_no_more(world: World) -> None:
    await world.metrics()

    await algorithms.remove(world.store, world.algorithm_id, None, regardless=True)
    world.known.hear(AlgorithmDeleted(subject=world.algorithm_id, request_id="r"))

    assert await world.known.records(LOCAL) == []


async def test_what_changes_while_it_is_read_is_read_again() -> None:
    read: list[int] = []

    async def change_and_read() -> int:
        read.append(len(read))
        if len(read) == 1:
            kept.changed()
        return read[-1]

    kept = Kept(change_and_read)
    assert [await kept.get() for _ in range(3)] == [0, 1, 1]
