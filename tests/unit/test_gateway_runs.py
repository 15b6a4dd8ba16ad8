"""The gateway's view of runs, folded from events."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest

from messages.runs import RunLogged, RunProgressed
from messages.scheduler import SchedulerAdmitted
from services.gateway.http.paging import PageQuery
from services.gateway.views.catalog import Catalog, Query
from services.gateway.views.live_logs import HALF, LiveLog, Piece
from services.gateway.views.runs import LiveView
from shared.objects.local import LocalObjectStore
from shared.records.fold import fold
from shared.records.ledger import Epoch, Snapshot
from shared.records.store import RecordStore
from tests.unit.gateway_samples import assigned, completed, requested, started
from voxloom.ids import new_id
from voxloom.models import Status, utc_now


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def view(catalog: Catalog, tmp_path: Path) -> LiveView:
    return LiveView(RecordStore(LocalObjectStore(tmp_path)), catalog)


def begin(view: LiveView, run: str = "") -> str:
    """A run that is RUNNING as of offset 3."""
    run = run or new_id()
    for offset, event in enumerate([requested(run), assigned(run), started(run)], start=1):
        view.apply(offset, event)
    return run


async def status(view: LiveView, run: str) -> Status:
    found = await view.find(run)
    assert found is not None
    return found.state.status


async def test_a_run_is_known_as_soon_as_its_request_was_folded(view: LiveView) -> None:
    event = requested()
    view.apply(0, event)
    assert await status(view, event.subject) is Status.PENDING


async def test_the_stream_repeating_our_own_event_changes_nothing_but_gives_it_an_offset(view: LiveView) -> None:
    event = requested()
    view.apply(0, event)
    found = await view.find(event.subject)
    view.apply(7, event)
    assert found is await view.find(event.subject)
    assert found is not None
    assert found.offset == 7


@pytest.mark.parametrize("known", [1, 2, 3, 4])
async def test_of_a_run_that_was_restored_the_stream_says_where_its_newest_status_stands(
    view: LiveView, known: int
) -> None:
    # Given a run that the records know up to one of its events
    run = new_id()
    events = [requested(run), assigned(run), started(run), completed(run)]
    state = functools.reduce(fold, events[:known], None)
    assert state is not None
    nothing: dict[str, Any] = {"deploys": [], "blocks": [], "rows": [], "settled": []}
    view.restore(Snapshot(segment=1, time=utc_now(), epoch=Epoch(), runs=[state], **nothing))
    # When the stream repeats these from the beginning
    for offset, event in enumerate(events[:known], start=11):
        view.apply(offset, event)
    # Then who has heard of it up to the one before has not heard of the last one
    found = await view.find(run)
    assert found is not None
    assert found.offset == 10 + known


async def test_a_decision_of_an_older_scheduler_is_refused(view: LiveView) -> None:
    run = begin(view)
    view.apply(4, SchedulerAdmitted(subject="new", epoch=2, snapshot_key="s"))
    view.apply(5, completed(run, epoch=1))
    assert await status(view, run) is Status.RUNNING


async def test_late_events_of_a_run_whose_row_says_it_is_over_are_ignored(view: LiveView, catalog: Catalog) -> None:
    # Given a run that ended before the snapshot the view began with
    other = LiveView(RecordStore(LocalObjectStore(Path("unused"))), catalog)
    run = begin(other)
    other.apply(4, completed(run))
    catalog.flush()
    # When the stream repeats its beginning
    view.apply(1, requested(run))
    # Then the run does not rise again
    assert view.unfinished == 0
    assert [item.status for item in catalog.page(Query(PageQuery(limit=10), None)).items] == [Status.COMPLETED]


async def test_progress_never_falls_not_even_with_a_new_attempt(view: LiveView) -> None:
    run = begin(view)
    found = await view.find(run)
    assert found is not None
    view.hear(RunProgressed(subject=run, attempt=1, progress=0.5))
    view.apply(4, assigned(run, attempt=2))
    view.hear(RunProgressed(subject=run, attempt=2, progress=0.1))
    assert found.progress == 0.5


async def test_what_a_fenced_attempt_still_says_is_ignored(view: LiveView) -> None:
    run = begin(view)
    view.apply(4, assigned(run, attempt=2))
    view.hear(RunProgressed(subject=run, attempt=1, progress=0.9))
    view.hear(RunLogged(subject=run, attempt=1, offset=0, text="old\n"))
    found = await view.find(run)
    assert found is not None
    assert (found.progress, found.log) == (0.0, None)


async def test_whoever_waits_for_the_end_is_told_at_once(view: LiveView) -> None:
    run = begin(view)
    found = await view.find(run)
    assert found is not None
    waiting = asyncio.create_task(view.wait_until_ended(found, 30))
    await asyncio.sleep(0)
    view.apply(4, completed(run))
    await asyncio.wait_for(waiting, 20)
    assert found.state.ended


async def test_nobody_waits_for_news_of_a_server_that_stops(view: LiveView) -> None:
    found = await view.find(begin(view))
    assert found is not None
    waiting = asyncio.create_task(view.wait_until_ended(found, 30))
    await asyncio.sleep(0)
    view.close()
    await asyncio.wait_for(waiting, 20)
    assert not found.state.ended


async def test_a_watcher_sees_every_change_of_status_in_order(view: LiveView) -> None:
    run = new_id()
    view.apply(1, requested(run))
    found = await view.find(run)
    assert found is not None
    with view.watch(found) as watcher:
        view.apply(2, assigned(run))
        view.apply(3, started(run))
        view.apply(4, completed(run))
    assert [(offset, state.status) for offset, state in watcher.statuses] == [
        (2, Status.STARTED),
        (3, Status.RUNNING),
        (4, Status.COMPLETED),
    ]


async def test_a_young_id_that_arrives_late_is_waited_for(view: LiveView) -> None:
    event = requested()
    asking = asyncio.create_task(view.find(event.subject))
    await asyncio.sleep(0.01)
    view.apply(1, event)
    found = await asyncio.wait_for(asking, 20)
    assert found is not None
    assert found.state.run == event.subject


# --- the log of a running attempt -------------------------------------------------------------------------


def test_a_repeated_piece_of_log_is_taken_once() -> None:
    log = LiveLog(1)
    log.add(0, "abc")
    log.add(0, "abcdef")
    assert log.text() == "abcdef"
    assert not log.add(3, "def")


def test_a_lost_piece_of_log_stays_a_gap() -> None:
    log = LiveLog(1)
    log.add(0, "abc")
    log.add(5, "fg")
    assert log.since(0) == [Piece(0, "abc"), Piece(5, "fg")]
    assert "2 characters" in log.text()


def test_neighbouring_pieces_are_told_as_one_from_where_one_is() -> None:
    log = LiveLog(1)
    for offset, text in ((0, "abc"), (3, "def"), (6, "ghi")):
        log.add(offset, text)
    assert log.since(4) == [Piece(4, "efghi")]
    assert log.since(9) == []


def test_of_a_long_log_the_beginning_and_the_newest_are_kept() -> None:
    log = LiveLog(1)
    line = "x" * 999 + "\n"
    for number in range(4 * HALF // 1000):
        log.add(number * 1000, line)
    kept = sum(len(piece.text) for piece in log.since(0))
    assert 2 * HALF <= kept <= 2 * HALF + HALF // 2
    assert log.since(0)[0].offset == 0
    assert log.since(0)[-1].end == log.end
