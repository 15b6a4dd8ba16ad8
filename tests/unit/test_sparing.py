"""What the recorder leaves of what is to be deleted unless somebody keeps it, and what a gateway makes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from messages.base import Event
from messages.records import RecordsDeleted, RecordsDeleteRequested, RecordsKept
from services.gateway.operations.recovery import ask_again
from services.gateway.views.catalog import Catalog
from services.gateway.views.doubts import Doubts
from services.gateway.views.runs import LiveView
from services.recorder.service import Recorder
from services.recorder.sparing import divided
from shared.files import COLLECTION as DATA
from shared.keeping import RUNS, KeptRun
from shared.records.fold import RunState
from shared.records.store import RecordStore
from tests.named import A, B, C, run_named
from tests.unit.memory_platform import MemoryStore, NotingBus, memory_platform, stored_runs, whole
from voxloom.errors import BusUnavailable, StoreUnavailable, Unavailable
from voxloom.models import utc_now

LAST = run_named("last")


async def note(store: MemoryStore, run: str, *, kept: bool) -> None:
    told = KeptRun(kept=kept, project="default", time=utc_now())
    await store.put(DATA, RUNS + run, told.model_dump_json().encode())


def deletion_of(*runs: str, unless_kept: bool = True) -> RecordsDeleteRequested:
    return RecordsDeleteRequested(subject="request", runs=list(runs), unless_kept=unless_kept)


async def recorded(store: MemoryStore, bus: NotingBus) -> Recorder:
    recorder = Recorder(memory_platform(store, bus))
    await recorder.record([*whole(A), *whole(B), *whole(C)])
    await recorder._write_ended()
    return recorder


@pytest.mark.parametrize(
    ("kept", "goes", "stays"), [((), [A, B], None), ((B, C), [A], [B]), ((A, B), [], [A, B]), ((C,), [A, B], None)]
)
def test_what_is_kept_is_taken_out_and_said(kept: Sequence[str], goes: list[str], stays: list[str] | None) -> None:
    rest, news = divided(deletion_of(A, B), set(kept))
    assert (rest.runs, [one.runs for one in news]) == (goes, [] if stays is None else [stays])
    assert all(one.spared and one.kept for one in news)


@pytest.mark.parametrize(("unless_kept", "left"), [(True, {B}), (False, set())])
async def test_the_recorder_leaves_what_is_kept_but_where_somebody_has_named_it(
    unless_kept: bool, left: set[str]
) -> None:
    store, bus = MemoryStore(), NotingBus()
    recorder = await recorded(store, bus)
    await note(store, A, kept=False)
    await note(store, B, kept=True)
    await recorder.record([deletion_of(A, B, C, unless_kept=unless_kept)])
    await recorder._write_ended()
    assert set(stored_runs(store)) == left
    assert {run for one in bus.published if isinstance(one, RecordsKept) for run in one.runs} == left


async def test_nothing_is_deleted_while_nobody_knows_what_is_kept() -> None:
    store, bus = MemoryStore(), NotingBus()
    recorder = await recorded(store, bus)
    await note(store, B, kept=True)

    def fail(operation: str, key: str) -> None:
        if operation == "get" and key.startswith(RUNS):
            raise StoreUnavailable("not now")

    store.before = fail
    with pytest.raises(StoreUnavailable):
        await recorder.record([deletion_of(A, B)])
    await recorder._write_ended()
    assert set(stored_runs(store)) == {A, B, C}


async def test_what_is_spared_is_told_again_where_the_broker_was_away() -> None:
    store, bus = MemoryStore(), NotingBus()
    recorder = await recorded(store, bus)
    await note(store, B, kept=True)

    def refuse(_events: Sequence[Event]) -> None:
        raise BusUnavailable("not now")

    bus.refuse = refuse
    with pytest.raises(BusUnavailable):
        await recorder.record([deletion_of(A, B)])
    bus.refuse = NotingBus().refuse
    await recorder.record([deletion_of(A, B)])
    await recorder._write_ended()
    told = [one.runs for one in bus.published if isinstance(one, RecordsKept)]
    assert (told, set(stored_runs(store))) == ([[B]], {B, C})


# --- a gateway -------------------------------------------------------------------------------------------------------


async def view_of(store: MemoryStore) -> LiveView:
    view = LiveView(RecordStore(store), Catalog())
    for event in [*whole(A), *whole(B)]:
        view.apply(1, event)
    return view


async def test_a_run_that_is_spared_is_back_in_lists_and_by_its_id() -> None:
    store = MemoryStore()
    await recorded(store, NotingBus())
    view = await view_of(store)
    view.apply(2, deletion_of(A, B))
    before = view._catalog.ended_runs("default")
    view.apply(3, RecordsKept(subject="news", runs=[B], spared=True))
    task = asyncio.create_task(view.keep_bringing_back())
    await view.doubts.settled(B, within=10.0)
    task.cancel()
    assert (before, view._catalog.ended_runs("default"), await view.find(B) is not None) == ([], [B], True)
    view.apply(4, RecordsDeleted(subject="news", runs=[A]))
    assert await view.find(A) is None


async def test_what_is_spared_of_another_project_is_not_brought_back() -> None:
    store = MemoryStore()
    await recorded(store, NotingBus())
    view = await view_of(store)
    view.apply(2, deletion_of(A, B))
    view.apply(3, RecordsKept(subject="news", project="other", runs=[B], spared=True))
    task = asyncio.create_task(view.keep_bringing_back())
    await view.doubts.settled(B, within=10.0)
    task.cancel()
    assert await view.find(B) is None


async def test_there_is_a_doubt_until_the_recorder_has_said_what_becomes_of_it() -> None:
    view = await view_of(MemoryStore())
    view.apply(2, deletion_of(A))
    view.apply(2, deletion_of(B, unless_kept=False))
    asked = [run in view.doubts for run in (A, B)]
    view.apply(3, RecordsDeleted(subject="news", runs=[A, B]))
    assert (asked, A in view.doubts) == ([True, False], False)


async def test_what_a_gateway_itself_has_asked_for_is_heard_from_the_stream_alone() -> None:
    """The answer of the broker to whoever has asked may come after that of the recorder."""
    view = await view_of(MemoryStore())
    view.apply(2, deletion_of(A))
    view.apply(3, RecordsDeleted(subject="news", runs=[A]))
    view.apply(0, deletion_of(A))
    assert A not in view.doubts


async def brought_back(view: LiveView) -> None:
    """All that was spared so far: it is done in order."""
    view.doubts.raise_of([LAST])
    view.apply(9, RecordsKept(subject="news", runs=[LAST], spared=True))
    task = asyncio.create_task(view.keep_bringing_back())
    await view.doubts.settled(LAST, within=10.0)
    task.cancel()


async def test_what_somebody_has_named_meanwhile_goes_all_the_same() -> None:
    store = MemoryStore()
    await recorded(store, NotingBus())
    view = await view_of(store)
    view.apply(2, deletion_of(A))
    view.apply(3, deletion_of(A, unless_kept=False))
    view.apply(4, RecordsKept(subject="news", runs=[A], spared=True))
    await brought_back(view)
    assert (view._catalog.ended_runs("default"), await view.find(A)) == ([B], None)


async def test_what_was_brought_back_and_is_deleted_after_all_is_in_no_list() -> None:
    store = MemoryStore()
    await recorded(store, NotingBus())
    view = await view_of(store)
    for event in (deletion_of(A), RecordsKept(subject="news", runs=[A], spared=True), deletion_of(A)):
        view.apply(2, event)
    await brought_back(view)
    view.apply(3, RecordsDeleted(subject="news", runs=[A]))
    assert view._catalog.ended_runs("default") == [B]


async def test_what_a_broker_has_lost_leaves_nothing_in_doubt() -> None:
    store = MemoryStore()
    recorder = await recorded(store, NotingBus())
    view = await view_of(store)
    view.apply(2, deletion_of(A, B))
    # Given that the recorder has deleted one of them, and has never heard of the other, when the broker loses its disk
    await recorder.record([deletion_of(A)])
    await recorder._write_ended()
    await ask_again(NotingBus(), "g", view)
    await brought_back(view)
    # Then the records say what is there
    assert (view._catalog.ended_runs("default"), view.doubts.runs()) == ([B], [])
    assert await view.find(A) is None


async def test_a_record_that_cannot_be_read_keeps_no_other_from_being_brought_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    await recorded(store, NotingBus())
    view, real = await view_of(store), RecordStore.load_run

    async def load_run(self: RecordStore, run: str) -> RunState | None:
        if run == A:
            raise ValueError("it is damaged")
        return await real(self, run)

    monkeypatch.setattr(RecordStore, "load_run", load_run)
    view.apply(2, deletion_of(A, B))
    for run in (A, B):
        view.apply(3, RecordsKept(subject="news", runs=[run], spared=True))
    await brought_back(view)
    assert (view._catalog.ended_runs("default"), A in view.doubts) == ([B], False)


async def test_nobody_waits_for_what_has_been_in_doubt_for_long() -> None:
    now = [0.0]
    doubts = Doubts(lambda: now[0])
    doubts.raise_of([A])
    now[0] = 5.0
    doubts.raise_of([A, B])
    await doubts.settled_soon(A, within=5.0)
    asked = asyncio.create_task(doubts.settled_soon(B, within=5.0))
    await asyncio.sleep(0)
    doubts.settle([B])
    await asked
    assert (A in doubts, B in doubts) == (True, False)


async def test_who_waits_for_too_long_is_told_so() -> None:
    doubts = Doubts()
    doubts.raise_of([A])
    with pytest.raises(Unavailable) as raised:
        await doubts.settled(A, within=0.01)
    assert raised.value.code == "answer_timeout"
    await doubts.settled(B, within=0.01)
