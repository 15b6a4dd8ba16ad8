"""A request that is said again when its run is long over starts nothing, however much later that is."""

from __future__ import annotations

from collections.abc import Iterable

from messages.runs import RunRequested, Task
from services.recorder.service import Recorder
from services.scheduler.dispatcher import SETTLED_SECS, Dispatcher
from services.scheduler.service import Scheduler
from shared.objects.base import ObjectInfo
from shared.records.fold import RunState, fold
from shared.records.store import COLLECTIONS, OLD_SECS, RecordStore
from tests.each import each
from tests.named import A, B, C
from tests.unit.memory_platform import WORK, MemoryStore, NotingBus, memory_platform, requested, whole
from tests.unit.scheduler_story import kinds, lane, worker_started
from voxloom.ids import new_id


class Counting(MemoryStore):
    """Notes in which portions it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    async def head_many(self, collection: str, keys: Iterable[str]) -> dict[str, ObjectInfo]:
        self.asked.append(list(keys))
        return await super().head_many(collection, self.asked[-1])


def state_of(run: str) -> RunState:
    state = None
    for event in whole(run):
        state = fold(state, event)
    assert state is not None
    return state


async def test_the_scheduler_starts_no_run_anew_that_has_a_record_and_asks_for_many_at_once() -> None:
    # Given a scheduler that has forgotten two runs, which have ended
    store, bus = Counting(), NotingBus()
    await RecordStore(store).save_runs([state_of(A), state_of(B)])
    scheduler = Scheduler(memory_platform(store, bus))
    scheduler.dispatcher = Dispatcher(scheduler.settings, epoch=1, instance="s")
    # When they are asked for again, beside a new one
    await scheduler.handle([worker_started("i1", "w1", lane(5)), requested(A), requested(C), requested(B)])
    # Then the new one alone is begun; the records were asked once, and are not asked for what is known
    assert kinds(bus.published) == [("assigned", C)]
    assert [len(keys) for keys in store.asked] == [3]
    await scheduler.handle([requested(C)])
    assert len(store.asked) == 1


async def test_the_recorder_looks_up_no_young_run() -> None:
    store = Counting()
    recorder = Recorder(memory_platform(store))
    await recorder.record([requested(new_id()) for _ in range(10)])
    assert store.asked == []
    await recorder.record([requested(A), requested(B)])
    assert [len(keys) for keys in store.asked] == [2]


@each("task", list(COLLECTIONS))
async def test_a_run_is_looked_for_among_those_of_its_task(task: Task) -> None:
    store = MemoryStore()
    work = WORK.model_copy(update={"task": task})
    await RecordStore(store).save_runs([state_of(A).model_copy(update={"work": work})])
    event = RunRequested(task=task, subject=A, work=work)
    assert await RecordStore(store).spent([event], lambda _: False) == {A}


def test_what_is_too_young_to_be_looked_up_is_not_forgotten_yet() -> None:
    assert OLD_SECS < SETTLED_SECS
