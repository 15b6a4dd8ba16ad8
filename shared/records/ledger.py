"""The recorder's memory: runs that have not ended or are not yet stored by themselves, and the rows of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from messages.base import Event
from messages.executions import (
    ExecutionAssigned,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequeued,
    ExecutionStopPassed,
    ExecutionStopped,
)
from messages.scheduler import SchedulerStarted
from shared.records.fold import DeployState, RunState, fold, fold_deploy
from shared.records.view import execution_summary
from voxloom.models import ExecutionSummary, Moment, Value

DECISIONS = (
    ExecutionAssigned,
    ExecutionRequeued,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionStopped,
    ExecutionStopPassed,
)
SETTLED_FOR = timedelta(minutes=10)
"""How long an ended run's id is remembered, so that a late repetition of its events starts nothing."""
BLOCK = 1000
"""Rows per block."""


class Epoch(Value):
    """Which scheduler decides: its number and its instance."""

    number: int = 0
    instance: str = ""


class Snapshot(Value):
    """The ledger as of one segment. A start reads it and the segments that follow."""

    segment: int
    time: Moment
    epoch: Epoch
    runs: list[RunState]
    deploys: list[DeployState]
    blocks: list[int]
    """Numbers of the full blocks of rows, which lie in objects of their own."""
    rows: list[ExecutionSummary]
    """The newest rows, which fill no block yet."""
    settled: dict[str, Moment]


def review(epoch: Epoch, events: Iterable[Event]) -> tuple[Epoch, list[Event]]:
    """Admits new schedulers and refuses the decisions of old ones. Returns the epoch after these events, and those that
    count."""
    good: list[Event] = []
    for event in events:
        if isinstance(event, SchedulerStarted) and event.subject != epoch.instance:
            epoch = Epoch(number=epoch.number + 1, instance=event.subject)
        if isinstance(event, DECISIONS) and event.epoch < epoch.number:
            continue
        good.append(event)
    return epoch, good


class Ledger:
    """Applies events; hands out what to write behind. No I/O."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.epoch = snapshot.epoch if snapshot else Epoch()
        self.segment = snapshot.segment if snapshot else 0
        self.runs = {state.run: state for state in snapshot.runs} if snapshot else {}
        self.deploys = {state.deploy_id: state for state in snapshot.deploys} if snapshot else {}
        self.blocks = list(snapshot.blocks) if snapshot else []
        self.rows = list(snapshot.rows) if snapshot else []
        self.settled: dict[str, datetime] = dict(snapshot.settled) if snapshot else {}
        self.ended = {run: None for run, state in self.runs.items() if state.ended and state.work}
        """Runs to be stored by themselves, the longest ended first."""

    def apply(self, segment: int, epoch: Epoch, events: Sequence[Event]) -> None:
        """Takes in the events of one stored segment."""
        for event in events:
            if event.entity == "execution":
                self._apply_to_run(event)
            elif event.entity == "deploy":
                self.deploys[event.subject] = fold_deploy(self.deploys.get(event.subject), event)
        self.epoch = epoch
        self.segment = segment

    def _apply_to_run(self, event: Event) -> None:
        run = event.subject
        known = self.runs.get(run)
        if known is None and run in self.settled:
            return
        state = self.runs[run] = fold(known, event)
        if state.ended and state.work is not None and run not in self.ended:
            self.ended[run] = None
            self.settled[run] = event.time

    def to_store(self, limit: int) -> list[RunState]:
        """Ended runs that have no object of their own yet."""
        return [self.runs[run] for _, run in zip(range(limit), self.ended, strict=False)]

    def stored(self, states: Iterable[RunState]) -> None:
        """These have their own objects now: only a row is left of them."""
        for state in states:
            if self.runs.get(state.run) is state:
                del self.runs[state.run], self.ended[state.run]
                self.rows.append(execution_summary(state))

    def deploys_to_store(self) -> list[DeployState]:
        return [state for state in self.deploys.values() if state.ended]

    def deploys_stored(self, states: Iterable[DeployState]) -> None:
        for state in states:
            if self.deploys.get(state.deploy_id) is state:
                del self.deploys[state.deploy_id]

    def full_block(self) -> list[ExecutionSummary] | None:
        return self.rows[:BLOCK] if len(self.rows) >= BLOCK else None

    def block_stored(self, number: int) -> None:
        self.blocks.append(number)
        del self.rows[:BLOCK]

    def forget(self, now: datetime) -> None:
        """Lets go of what only late repetitions could ask for."""
        limit = now - SETTLED_FOR
        self.settled = {run: time for run, time in self.settled.items() if time > limit}
        orphans = [
            run
            for run, state in self.runs.items()
            if state.work is None and state.stage is not None and state.stage.time < limit
        ]
        for run in orphans:
            del self.runs[run]

    def snapshot(self, now: datetime) -> Snapshot:
        return Snapshot(
            segment=self.segment,
            time=now,
            epoch=self.epoch,
            runs=list(self.runs.values()),
            deploys=list(self.deploys.values()),
            blocks=list(self.blocks),
            rows=list(self.rows),
            settled=dict(self.settled),
        )
