"""Which workers there are, and what each of them does: from what they say of themselves, and from their heartbeats."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from messages.base import Event
from messages.workers import (
    Lane,
    WorkerDraining,
    WorkerFenced,
    WorkerHeartbeat,
    WorkerStarted,
    WorkerStopped,
)
from services.gateway.views.queue_positions import Offers
from shared.newest import Newest
from shared.records.fold import RunState, Stage
from voxloom.models import WorkerLane, WorkerRecord, WorkerRun, WorkerState, format_time, utc_now

GONE_SECS = 300.0
"""How long one that is gone is still shown."""
SILENT_SECS = 3600.0
"""How long one is shown that is silent and that nobody has given up."""
MOST = 10_000

FindRun = Callable[[str], RunState | None]


@dataclass(slots=True, eq=False)
class Known:
    """What was heard of one incarnation. Times are those of the view's own clock."""

    incarnation: str
    worker_id: str
    heard: float
    lanes: Sequence[Lane] = ()
    started: datetime | None = None
    beat: WorkerHeartbeat | None = None
    beaten: float = 0.0
    draining: bool = False
    reason: str = ""
    """Why it is gone; empty while it is not."""


class Workers:
    """A view that can be rebuilt. `lease`: seconds without a heartbeat after which a worker counts as silent."""

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._clock = clock
        self._known: Newest[str, Known] = Newest(MOST)

    def hear(self, event: Event) -> None:
        """Takes in what is said of workers, and passes over the rest."""
        match event:
            case WorkerHeartbeat():
                self._beat(event)
            case WorkerStarted():
                self._start(event)
            case WorkerDraining():
                self._meet(event.subject, event.worker_id, event).draining = True
            case WorkerStopped():
                self._leave(self._meet(event.subject, event.worker_id, event), "stopped", event)
            case WorkerFenced():
                self._leave(self._meet(event.subject, event.worker_id, event), event.reason, event)

    def _meet(self, incarnation: str, worker_id: str, event: Event) -> Known:
        known = self._known.get(incarnation)
        if known is None:
            known = self._known[incarnation] = Known(incarnation, worker_id, self._moment(event))
        return known

    def _moment(self, event: Event) -> float:
        """When an event was said; the stream also tells what was said long ago."""
        return self._clock() - max(0.0, (utc_now() - event.time).total_seconds())

    def _beat(self, event: WorkerHeartbeat) -> None:
        known = self._meet(event.subject, event.worker_id, event)
        if known.reason:
            return  # Overtaken by its own end, or given up and not yet aware of it.
        known.beat, known.lanes = event, event.lanes
        known.draining = known.draining or event.draining
        known.heard = known.beaten = self._clock()

    def _start(self, event: WorkerStarted) -> None:
        known = self._meet(event.subject, event.worker_id, event)
        known.started = event.time
        known.lanes = known.lanes or event.lanes
        for other in self._known.values():
            if other.worker_id == event.worker_id and other is not known and not other.reason:
                self._leave(other, "replaced", event)

    def _leave(self, known: Known, reason: str, event: Event) -> None:
        if not known.reason:
            known.reason = reason
            known.heard = self._moment(event)

    def trim(self) -> None:
        """Forgets those that have been gone, or silent, for long."""
        now = self._clock()
        for name in [name for name, one in self._known.items() if now - one.heard >= _kept(one)]:
            del self._known[name]

    def records(self, find: FindRun) -> list[WorkerRecord]:
        """By name, those that are gone last. `find`: what is known of a run."""
        self.trim()
        shown = [self._record(one, find) for one in self._known.values()]
        return sorted(shown, key=lambda one: (one.state == "gone", one.worker_id, one.started, one.incarnation))

    def cards(self) -> int | None:
        """How many CUDA cards live workers have; None: no worker is there that could say."""
        lanes = [lane for one in self._known.values() if self._state(one) == "live" for lane in one.lanes]
        return sum(len(lane.cards) or 1 for lane in lanes if lane.device == "cuda") if lanes else None

    def offers(self) -> Offers:
        """Which device classes runs may wait for."""
        slots: Counter[str] = Counter()
        away: set[str] = set()
        for one in self._known.values():
            state = self._state(one)
            if state == "live":
                slots.update({lane.device_class: lane.slots for lane in one.lanes})
            elif state == "silent":
                away.update(lane.device_class for lane in one.lanes)
        return Offers(slots, away)

    def is_away(self, incarnation: str) -> bool:
        """Whether that worker is known and not heard."""
        known = self._known.get(incarnation)
        return known is not None and self._state(known) == "silent"

    def count(self) -> Mapping[WorkerState, int]:
        """How many are in which state."""
        counted = Counter(self._state(one) for one in self._known.values())
        return {state: counted[state] for state in get_args(WorkerState)}

    def _record(self, known: Known, find: FindRun) -> WorkerRecord:
        state, beat = self._state(known), known.beat
        runs = list(_runs(beat, find)) if beat is not None and state != "gone" else []
        lanes = _lanes(known.lanes, runs)
        return WorkerRecord(
            worker_id=known.worker_id,
            incarnation=known.incarnation,
            state=state,
            reason=known.reason,
            host=beat.host if beat else "",
            pid=beat.pid if beat else 0,
            version=beat.release if beat else "",
            started=format_time(known.started) if known.started else "",
            heartbeat_seconds=self._clock() - known.beaten if beat else None,
            lanes=lanes,
            free_slots=sum(max(0, lane.slots - lane.busy) for lane in lanes) if state == "live" else 0,
            runs=runs,
        )

    def _state(self, known: Known) -> WorkerState:
        if known.reason:
            return "gone"
        if self._clock() - known.heard > self._lease:
            return "silent"
        return "draining" if known.draining else "live"


def _kept(known: Known) -> float:
    return GONE_SECS if known.reason else SILENT_SECS


def _runs(beat: WorkerHeartbeat, find: FindRun) -> Iterator[WorkerRun]:
    """What a worker says it has, without what has ended meanwhile or went elsewhere."""
    for one in beat.holding:
        state = find(one.run)
        if state is None:
            yield WorkerRun(execution_id=one.run, attempt=one.attempt)
        elif state.stage is not None and _is_there(state, state.stage, beat.subject, one.attempt):
            yield _run(state, state.stage)


def _is_there(state: RunState, stage: Stage, incarnation: str, attempt: int) -> bool:
    return not state.ended and stage.incarnation == incarnation and state.attempt == attempt


def _run(state: RunState, stage: Stage) -> WorkerRun:
    work = state.work
    began = state.began if state.began is not None and state.began.attempt == state.attempt else None
    return WorkerRun(
        execution_id=state.run,
        attempt=state.attempt,
        status=state.status,
        algorithm_name=work.algorithm.name if work else "",
        algorithm_version=f"{work.algorithm.major}.{work.algorithm.minor}" if work else "",
        device_class=stage.device_class or "",
        since=format_time(began.time if began else stage.time),
    )


def _lanes(lanes: Sequence[Lane], runs: Sequence[WorkerRun]) -> list[WorkerLane]:
    busy = Counter(run.device_class for run in runs)
    return [WorkerLane(**one.model_dump(), busy=busy[one.device_class]) for one in lanes]
