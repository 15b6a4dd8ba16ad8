"""An event about a run that says another project than its run's is ignored, wherever it is heard."""

from __future__ import annotations

import logging
from itertools import permutations

import pytest

from messages.base import Event
from messages.records import RecordsDeleteRequested
from messages.runs import (
    RunProgressed,
    RunRequested,
    RunStopPassed,
    RunStopRequested,
)
from services.gateway.views.catalog import Catalog
from services.gateway.views.runs import LiveView
from services.recorder.service import Recorder
from services.scheduler.dispatcher import Dispatcher
from services.scheduler.service import Scheduler
from shared.records.fold import RunState, fold
from shared.records.store import RecordStore
from tests.each import each
from tests.named import A, B
from tests.unit.memory_platform import (
    WORK,
    MemoryStore,
    NotingBus,
    memory_platform,
    requested,
    started,
    stored_runs,
    whole,
)
from tests.unit.scheduler_story import finished, kinds, worker_started
from voxloom.models import Status

OTHERS = WORK.model_copy(update={"session_token": "of others"})


def foreign(event: Event) -> Event:
    return event.model_copy(update={"project": "other"})


def folded(*events: Event) -> RunState:
    state = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    return state


@each("event", [*whole(A)[1:], RunStopRequested(subject=A), RunRequested(subject=A, work=OTHERS)])
def test_a_record_does_not_change_by_it(event: Event) -> None:
    state = folded(requested(A))
    assert fold(state, foreign(event)) is state


def test_the_first_request_of_a_run_counts() -> None:
    state = folded(requested(A))
    assert fold(state, RunRequested(subject=A, work=OTHERS)) is state


def test_what_others_say_before_the_request_does_not_make_the_run_theirs() -> None:
    said = [foreign(started(A)), foreign(RunStopRequested(subject=A))]
    for some in permutations(said):
        state = folded(*some, *whole(A))
        assert (state.project, state.stop_requested, state.status) == ("default", None, Status.COMPLETED)


async def test_the_scheduler_decides_nothing_by_it(caplog: pytest.LogCaptureFixture) -> None:
    bus = NotingBus()
    scheduler = Scheduler(memory_platform(bus=bus))
    scheduler.dispatcher = Dispatcher(scheduler.settings, epoch=1, instance="s")
    await scheduler.handle([worker_started("i1"), requested(A), requested(B)])
    stops: list[Event] = [RunStopRequested(subject=run) for run in (A, B)]
    with caplog.at_level(logging.WARNING):
        await scheduler.handle([*map(foreign, stops), foreign(finished(A, "completed"))])
    assert kinds(bus.published) == [("assigned", A)]
    assert [A in record.message or B in record.message for record in caplog.records] == [True] * 3


async def test_the_recorder_deletes_no_record_for_others() -> None:
    # Given one run that is in memory, and one that is in the store alone
    store = MemoryStore()
    recorder = Recorder(memory_platform(store))
    await recorder.record(whole(A))
    await recorder._write_ended()
    await recorder._snapshot()
    recorder = Recorder(memory_platform(store))
    await recorder.record(whole(B))
    recorder._ledger.rows.clear()  # as if they were in a block
    # When another project wants both deleted, then neither is; their own may
    await recorder.record([RecordsDeleteRequested(subject="d", project="other", runs=[A, B])])
    await recorder._write_ended()
    assert sorted(stored_runs(store)) == [A, B]
    assert list(recorder._ledger.deleted) == []
    await recorder.record([RecordsDeleteRequested(subject="e", runs=[A])])
    await recorder._write_ended()
    assert list(stored_runs(store)) == [B]


async def test_a_gateway_shows_what_it_showed() -> None:
    # Given a run that has ended, and one that runs
    view = LiveView(RecordStore(MemoryStore()), Catalog())
    for event in [*whole(A), requested(B), started(B)]:
        view.apply(0, event)
    # When another project wants them stopped and deleted, and says how far they are
    for event in (RunStopRequested(subject=B), RecordsDeleteRequested(subject="d", runs=[A, B])):
        view.apply(0, foreign(event))
    view.hear(foreign(RunProgressed(subject=B, attempt=1, progress=0.9)))
    # Then nothing of that shows
    ended, running = await view.find(A), await view.find(B)
    assert ended is not None
    assert running is not None
    assert (ended.state.status, running.state.status) == (Status.COMPLETED, Status.RUNNING)
    assert (running.state.stop_requested, running.progress) == (None, 0.0)


async def test_a_gateway_that_knows_only_the_row_of_a_run_deletes_it_for_its_own_project_alone() -> None:
    catalog = Catalog()
    earlier = LiveView(RecordStore(MemoryStore()), catalog)
    for event in whole(A):
        earlier.apply(0, event)
    view = LiveView(RecordStore(MemoryStore()), catalog)
    view.apply(0, foreign(RecordsDeleteRequested(subject="d", runs=[A])))
    assert catalog.has_ended(A)
    view.apply(0, RecordsDeleteRequested(subject="d", runs=[A]))
    assert not catalog.has_ended(A)


def test_a_stop_that_is_passed_on_is_of_the_runs_own_project() -> None:
    dispatcher = Dispatcher(memory_platform().settings, epoch=1, instance="s")
    dispatcher.on_requested(RunRequested(subject=A, project="p", work=WORK), 0.0)
    dispatcher.on_worker_started(worker_started("i1"), 0.0)
    dispatcher.plan(0.0)
    (stop,) = dispatcher.on_stop_requested(RunStopRequested(subject=A, project="p"), 0.0)
    assert (type(stop), stop.project) == (RunStopPassed, "p")
