"""The recorder's memory: runs that have not ended or are not yet stored by themselves, and the rows of the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from typing import Any

from messages.base import Event
from messages.records import RecordsDeleteRequested
from messages.runs import (
    RunAssigned,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunHandedOver,
    RunRequeued,
    RunStopPassed,
    RunStopped,
)
from messages.scheduler import SchedulerStarted
from shared.records.fold import RunState, fold, ignored, is_foreign
from shared.records.kinds import RecordKind, S
from shared.records.registry import KINDS, RecordStates
from shared.records.shelf import Shelf
from shared.records.view import execution_summary
from voxloom.models import ExecutionSummary, Moment, Value

DECISIONS = (
    RunAssigned,
    RunHandedOver,
    RunRequeued,
    RunCompleted,
    RunFailed,
    RunStopped,
    RunStopPassed,
)
SETTLED_SECS = 600.0
"""How long what has ended is remembered, so that a late repetition of its events starts nothing."""
BLOCK = 1000
"""Rows per block."""
SEARCH_SHARE = 10
"""Blocks are searched for rows of deleted runs once there may be as many of those as one in so many."""
_FORMER = 100
_log = logging.getLogger("voxloom.records")


class Epoch(Value):
    """Which scheduler decides: its number and its instance."""

    number: int = 0
    instance: str = ""
    former: list[str] = []
    """Those before it, the latest first: what they have said may be delivered again, and admits them no more."""

    def after(self, started: str) -> Epoch:
        """The epoch once the instance `started` has asked for it."""
        if started == self.instance or started in self.former:
            return self
        former = [self.instance, *self.former] if self.instance else []
        return Epoch(number=self.number + 1, instance=started, former=former[:_FORMER])


class Snapshot(RecordStates):
    """The ledger as of one segment. A start reads it and the segments that follow."""

    segment: int
    time: Moment
    """All that was said before is in it."""
    epoch: Epoch
    runs: list[RunState]
    blocks: list[int]
    """Numbers of the full blocks of rows, which lie in objects of their own."""
    rows: list[ExecutionSummary]
    """The newest rows, which fill no block yet."""
    settled: list[str]
    """Runs that have ended lately."""
    deleted: list[str] = []
    """Runs whose records were deleted: the blocks may still have their rows."""
    to_delete: list[str] = []
    """Those of them whose objects may still be there."""
    retired: list[int] = []
    """Numbers of blocks that were dissolved: nobody needs them but who has read an older snapshot."""


def review(epoch: Epoch, events: Iterable[Event]) -> tuple[Epoch, list[Event]]:
    """Admits new schedulers and refuses the decisions of old ones. Returns the epoch after these events, and those that
    count."""
    good: list[Event] = []
    for event in events:
        if isinstance(event, SchedulerStarted):
            epoch = epoch.after(event.subject)
        if isinstance(event, DECISIONS) and event.epoch < epoch.number:
            continue
        good.append(event)
    return epoch, good


class Ledger:
    """Applies events; hands out what to write behind. No I/O.

    `clock` gives seconds that only ever grow. What has ended is forgotten by it, and a restart counts anew: neither a
    clock that is set nor a long time out of service makes anything be forgotten too early.
    """

    def __init__(self, snapshot: Snapshot | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.epoch = snapshot.epoch if snapshot else Epoch()
        self.segment = snapshot.segment if snapshot else 0
        self.heard = snapshot.time if snapshot else None
        """When the oldest event of the last segment was said."""
        self.runs = {state.run: state for state in snapshot.runs} if snapshot else {}
        self.shelves: dict[str, Shelf[Any]] = {
            kind.name: Shelf(kind, snapshot.of(kind) if snapshot else (), clock) for kind in KINDS
        }
        """What is known of all other kinds, by the first word of their events."""
        self.blocks = list(snapshot.blocks) if snapshot else []
        self.rows = list(snapshot.rows) if snapshot else []
        self.ended = {run: None for run, state in self.runs.items() if state.ended and state.work}
        """Runs to be stored by themselves, the longest ended first."""
        now = clock()
        self.settled = dict.fromkeys([*(snapshot.settled if snapshot else []), *self.ended], now)
        """Ended runs and when they were heard to end, the oldest first."""
        self.deleted = dict.fromkeys(snapshot.deleted, now) if snapshot else {}
        """Deleted runs and since when, the longest first: blocks may have their rows, and events may be repeated."""
        self.to_delete = dict.fromkeys(snapshot.to_delete) if snapshot else {}
        self.retired = dict.fromkeys(snapshot.retired, now) if snapshot else {}
        """Blocks that were dissolved, whose objects may still be there, and since when."""
        self._unrequested = {run: now for run, state in self.runs.items() if state.work is None}
        """Runs that something was said about before their request came, and since when."""

    def apply(self, segment: int, epoch: Epoch, events: Sequence[Event]) -> None:
        """Takes in the events of one stored segment."""
        for event in events:
            if isinstance(event, RunEvent):
                self._apply_to_run(event)
            elif event.entity in self.shelves:
                self.shelves[event.entity].apply(event)
            elif isinstance(event, RecordsDeleteRequested):
                self._delete(event.runs)
        self.epoch = epoch
        self.segment = segment
        self.heard = min((event.time for event in events), default=self.heard)

    def replay(self, number: int, events: Sequence[Event]) -> None:
        """Takes in a stored segment that was appended when this ledger was not there."""
        epoch, good = review(self.epoch, events)
        self.apply(number, epoch, good)

    def _apply_to_run(self, event: Event) -> None:
        run = event.subject
        known = self.runs.get(run)
        if known is None and (run in self.settled or run in self.deleted):
            return
        if known is not None and is_foreign(known, event):
            _log.warning("%s", ignored(event, known.project))
            return
        state = self.runs[run] = fold(known, event)
        if state.work is None:
            self._unrequested.setdefault(run, self._clock())
            return
        if known is None or known.work is None:
            self._unrequested.pop(run, None)
        if state.ended and run not in self.ended:
            self.ended[run] = None
            self.settled.setdefault(run, self._clock())

    def _delete(self, runs: Sequence[str]) -> None:
        """Lets go of these, but for what has not ended: that stays."""
        gone = {run for run in runs if run not in self.runs or run in self.ended}
        for run in gone:
            self.runs.pop(run, None)
            self.ended.pop(run, None)
        self.rows = [row for row in self.rows if row.execution_id not in gone]
        now = self._clock()
        for run in filter(gone.__contains__, runs):
            self.deleted.setdefault(run, now)
            self.to_delete[run] = None

    def remembers(self, run: str) -> bool:
        return run in self.runs or run in self.settled or run in self.deleted

    def projects(self) -> dict[str, str]:
        """Whose the runs are that are in memory."""
        known = {row.execution_id: row.project for row in self.rows}
        return known | {run: state.project for run, state in self.runs.items()}

    def were_deleted(self, runs: Iterable[str]) -> None:
        """Their objects are gone."""
        for run in runs:
            self.to_delete.pop(run, None)

    def to_store(self, limit: int) -> list[RunState]:
        """Ended runs that have no object of their own yet."""
        return [self.runs[run] for _, run in zip(range(limit), self.ended, strict=False)]

    def stored(self, states: Iterable[RunState]) -> None:
        """These have their own objects now: only a row is left of them."""
        for state in states:
            if self.runs.get(state.run) is state:
                del self.runs[state.run], self.ended[state.run]
                self.settled.setdefault(state.run, self._clock())
                self.rows.append(execution_summary(state))

    def shelf(self, kind: RecordKind[S]) -> Shelf[S]:
        return self.shelves[kind.name]

    def full_block(self) -> list[ExecutionSummary] | None:
        return self.rows[:BLOCK] if len(self.rows) >= BLOCK else None

    def block_stored(self, number: int, block: Iterable[ExecutionSummary]) -> None:
        """Some of its rows may have been deleted meanwhile."""
        self.blocks.append(number)
        stored = {row.execution_id for row in block}
        self.rows = [row for row in self.rows if row.execution_id not in stored]

    def next_block(self) -> int:
        return max([*self.blocks, *self.retired], default=-1) + 1

    def to_search_for(self) -> list[str]:
        """Deleted runs whose rows the blocks are to be rid of by now; none where that is not worth reading them."""
        settled = _older(self.deleted.items(), self._clock() - SETTLED_SECS)
        found = [run for run in settled if run not in self.to_delete]
        return found if len(found) * SEARCH_SHARE >= len(self.blocks) * BLOCK else []

    def dissolve(self, number: int, rows: Sequence[ExecutionSummary]) -> None:
        """What is left of a block's rows goes back among the others, and fills a block with them."""
        self.blocks.remove(number)
        self.retired[number] = self._clock()
        self.rows = [*rows, *self.rows]

    def searched_for(self, runs: Iterable[str]) -> None:
        """No block has rows of these any more."""
        for run in runs:
            self.deleted.pop(run, None)

    def to_remove(self) -> list[int]:
        """Blocks that nobody who has begun with an older snapshot may still be about to read."""
        limit = self._clock() - SETTLED_SECS
        return [number for number, since in self.retired.items() if since <= limit]

    def removed(self, blocks: Iterable[int]) -> None:
        for number in blocks:
            del self.retired[number]

    def forget(self, expired: datetime | None = None) -> None:
        """Lets go of what only late repetitions could ask for, and of rows of runs that had ended before `expired`."""
        self.rows = living(self.rows, expired)
        limit = self._clock() - SETTLED_SECS
        for run in _older(self.settled.items(), limit):
            del self.settled[run]
        for run in _older(self._unrequested.items(), limit):
            del self._unrequested[run], self.runs[run]
        for shelf in self.shelves.values():
            shelf.forget(limit)

    def snapshot(self, now: datetime) -> Snapshot:
        # What is heard late was said long before now: whoever goes on from here has to hear what has not come yet.
        # Not validated: it is all ours, and may be a hundred thousand runs.
        kept: dict[str, Any] = {shelf.kind.field: list(shelf.states.values()) for shelf in self.shelves.values()}
        return Snapshot.model_construct(
            **kept,
            segment=self.segment,
            time=min(now, self.heard or now),
            epoch=self.epoch,
            runs=list(self.runs.values()),
            blocks=list(self.blocks),
            rows=list(self.rows),
            settled=list(self.settled),
            deleted=list(self.deleted),
            to_delete=list(self.to_delete),
            retired=list(self.retired),
        )


def living(
    rows: Iterable[ExecutionSummary], expired: datetime | None, deleted: Container[str] = ()
) -> list[ExecutionSummary]:
    """The rows of runs that were not deleted, and that had not ended before `expired`."""
    return [row for row in rows if row.execution_id not in deleted and not _is_expired(row, expired)]


def _is_expired(row: ExecutionSummary, expired: datetime | None) -> bool:
    return expired is not None and bool(row.time_completed) and datetime.fromisoformat(row.time_completed) < expired


def _older(times: Iterable[tuple[str, float]], limit: float) -> list[str]:
    """The names at the front of what is sorted by time that are as old as `limit`."""
    names: list[str] = []
    for name, since in times:
        if since > limit:
            break
        names.append(name)
    return names
