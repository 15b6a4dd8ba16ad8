"""How long a gateway remembers which records were deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messages.base import Event
from messages.records import RecordsDeleted, RecordsDeleteRequested
from services.gateway.views.catalog import Catalog
from services.gateway.views.deletions import DeletedRuns
from services.gateway.views.runs import LiveView
from shared.records.ledger import SETTLED_SECS, Ledger
from shared.records.store import RecordStore
from tests.unit.gateway_samples import assigned, completed, requested, started
from tests.unit.memory_platform import MemoryStore
from voxloom.ids import new_id
from voxloom.models import utc_now

LATE = SETTLED_SECS + 1


def add(deleted: DeletedRuns) -> None:
    deleted.add(["a"])


def removed(deleted: DeletedRuns) -> None:
    deleted.removed(["a"])


def others(deleted: DeletedRuns) -> None:
    deleted.removed(["b"])


@pytest.mark.parametrize(
    ("history", "soon", "late"),
    [
        ([], False, False),
        ([add], True, True),
        ([removed], False, False),
        ([add, removed], True, False),
        ([add, others], True, True),
        ([add, removed, removed], True, False),
        ([add, removed, add], True, True),
        ([add, removed, add, removed], True, False),
    ],
)
def test_a_deletion_is_remembered_until_nothing_is_in_the_store_and_nothing_is_said_late(
    history: list[Callable[[DeletedRuns], None]], soon: bool, late: bool
) -> None:
    times = [0.0]
    deleted = DeletedRuns(lambda: times[-1])
    for step in history:
        step(deleted)
    known = []
    for now in (LATE / 2, LATE):
        times.append(now)
        deleted.trim()
        known.append("a" in deleted)
    assert known == [soon, late]


@pytest.fixture
def records() -> RecordStore:
    return RecordStore(MemoryStore())


def life_of(run: str) -> list[Event]:
    return [requested(run), assigned(run), started(run), completed(run)]


def view_of(records: RecordStore, *events: Event) -> LiveView:
    view = LiveView(records, Catalog())
    for offset, event in enumerate(events, start=1):
        view.apply(offset, event)
    return view


def ledger_of(*events: Event) -> Ledger:
    ledger = Ledger()
    ledger.apply(1, ledger.epoch, events)
    return ledger


async def test_a_deleted_record_is_not_found_while_the_store_still_has_it(records: RecordStore) -> None:
    # Given a run that the recorder has written
    run = new_id()
    await records.save_runs(ledger_of(*life_of(run)).to_store(1))
    # When its record is deleted, and the recorder has not come to that yet
    view = view_of(records, RecordsDeleteRequested(subject=new_id(), runs=[run]))
    # Then it is gone
    assert await view.find(run) is None


@pytest.mark.parametrize("removed", [True, False])
async def test_what_a_snapshot_says_of_deletions_is_forgotten_if_nothing_is_left_of_them(
    records: RecordStore, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    # Given the snapshot of a recorder that has, or has not, removed what it shall
    monkeypatch.setattr("services.gateway.views.deletions.SETTLED_SECS", -1.0)
    run = new_id()
    ledger = ledger_of(RecordsDeleteRequested(subject=new_id(), runs=[run]))
    if removed:
        ledger.were_deleted([run])
    # When a gateway begins with it
    view = view_of(records)
    view.restore(ledger.snapshot(utc_now()))
    view.trim()
    # Then it remembers what is still in the store, and no more
    assert await view.knows(run) is not removed


async def test_deletions_take_no_memory_in_the_end(records: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.views.deletions.SETTLED_SECS", -1.0)
    runs = [new_id() for _ in range(100)]
    view = view_of(
        records,
        *(event for run in runs for event in life_of(run)),
        RecordsDeleteRequested(subject=new_id(), runs=runs),
        RecordsDeleted(subject=new_id(), runs=runs),
    )
    view.trim()
    assert len(view._deleted) == 0
