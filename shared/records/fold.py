"""What is known of a run, as a fold over its events.

`fold` is pure. Of everything that replaces, the highest rank wins; everything that adds up is a union: so the order of
the events does not matter, nor does it matter how often one is folded.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from messages.base import DEFAULT_PROJECT, Event, Project, Subject
from messages.runs import (
    Result,
    RunAssigned,
    RunCompleted,
    RunEnded,
    RunFailed,
    RunRequested,
    RunRequeued,
    RunStarted,
    RunStopped,
    RunStopRequested,
    Work,
)
from messages.trainings import TrainingCheckpointDropped, TrainingCheckpointSaved
from shared.records.kinds import earliest
from voxloom.models import Moment, Status, Value


class Rank(NamedTuple):
    """Which of two claims about a run counts: an end over a beginning, then the later scheduler, the later attempt, the
    later step; the event's id only makes the order total."""

    ended: bool
    epoch: int
    attempt: int
    step: int
    event_id: str


class Stage(Value):
    """The newest thing that counts."""

    rank: Rank
    status: Status
    time: Moment
    worker_id: str | None = None
    incarnation: str | None = None
    device_class: str | None = None
    device: str | None = None
    card: str | None = None
    lost: int = 0
    result: Result | None = None


class Beginning(NamedTuple):
    """When the author's code of the newest attempt began."""

    epoch: int
    attempt: int
    time: Moment


class RunState(Value):
    """All that is kept of one run."""

    run: Subject
    project: Project = DEFAULT_PROJECT
    work: Work | None = None
    submitted: Moment | None = None
    submitted_by: str | None = None
    """The principal who has asked for it; None: nobody was asked who they are."""
    stage: Stage | None = None
    began: Beginning | None = None
    stop_requested: Moment | None = None
    checkpoints: dict[str, Moment] = {}
    """What a training has saved, and when; of all its attempts."""
    dropped: list[str] = []
    """Checkpoints that it has taken back, in the order of their ids."""

    @property
    def checkpoint_ids(self) -> list[str]:
        """Those that there are, the oldest first."""
        kept = [(when, one) for one, when in self.checkpoints.items() if one not in self.dropped]
        return [one for _, one in sorted(kept)]

    @property
    def status(self) -> Status:
        return self.stage.status if self.stage else Status.PENDING

    @property
    def attempt(self) -> int:
        return self.stage.rank.attempt if self.stage else 0

    @property
    def ended(self) -> bool:
        return self.stage is not None and self.stage.rank.ended


def fold(state: RunState | None, event: Event) -> RunState:
    """The state after one more event of the same run. Events that say nothing about a run, or that are of another
    project than it is, leave it as it is."""
    state = state or RunState(run=event.subject, project=event.project)
    if is_foreign(state, event):
        return state
    match event:
        case RunRequested():
            return _request(state, event)
        case RunStopRequested():
            return state.model_copy(update={"stop_requested": earliest(state.stop_requested, event.time)})
        case RunAssigned():
            return _advance(state, _assigned(event))
        case RunStarted():
            return _advance(_begin(state, event, event.time), _running(event))
        case RunRequeued():
            return _advance(state, _requeued(event))
        case RunCompleted() | RunFailed() | RunStopped():
            return _end(state, event)
        case TrainingCheckpointSaved():
            return _save(state, event)
        case TrainingCheckpointDropped():
            return _drop(state, event)
        case _:
            return state


def is_foreign(state: RunState, event: Event) -> bool:
    """Whether the event is of another project than the run. Whose the run is its request says: of what comes before
    that nobody knows yet."""
    decides = isinstance(event, RunRequested) and state.work is None
    return event.project != state.project and not decides


def ignored(event: Event, project: str) -> str:
    """For a log."""
    return f"{event.type_name} of {event.subject} says project {event.project}, which is {project}'s; it is ignored"


def _request(state: RunState, event: RunRequested) -> RunState:
    """The first one counts: whoever asks again, with something else, asks in vain."""
    if state.work is not None:
        return state
    if event.project != state.project:
        state = RunState(run=state.run, project=event.project)
    return state.model_copy(update={"work": event.work, "submitted": event.time, "submitted_by": event.actor})


def _advance(state: RunState, stage: Stage) -> RunState:
    if state.stage is not None and state.stage.rank >= stage.rank:
        return state
    return state.model_copy(update={"stage": stage})


def _assigned(event: RunAssigned) -> Stage:
    return Stage(
        rank=Rank(False, event.epoch, event.attempt, 1, event.id),
        status=Status.STARTED,
        time=event.time,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        device_class=event.device_class,
        lost=event.lost,
    )


def _running(event: RunStarted) -> Stage:
    return Stage(
        rank=Rank(False, event.epoch, event.attempt, 2, event.id),
        status=Status.RUNNING,
        time=event.time,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        device_class=event.device_class,
        device=event.device,
        card=event.card,
        lost=event.lost,
    )


def _requeued(event: RunRequeued) -> Stage:
    return Stage(
        rank=Rank(False, event.epoch, event.attempt, 3, event.id),
        status=Status.PENDING,
        time=event.time,
        lost=event.lost,
    )


def _begin(state: RunState, event: RunStarted | RunEnded, time: datetime) -> RunState:
    beginning = Beginning(event.epoch, event.attempt, time)
    if state.began is not None and state.began >= beginning:
        return state
    return state.model_copy(update={"began": beginning})


def _end(state: RunState, event: RunEnded) -> RunState:
    stage = Stage(
        rank=Rank(True, event.epoch, event.attempt, 4, event.id),
        status=Status(event.verb.upper()),
        time=event.time,
        worker_id=event.worker_id,
        incarnation=event.incarnation,
        device=event.result.device,
        card=event.result.card,
        result=event.result,
    )
    told = event.result.began
    return _advance(state if told is None else _begin(state, event, told), stage)


def _save(state: RunState, event: TrainingCheckpointSaved) -> RunState:
    checkpoint = event.checkpoint
    if checkpoint.checkpoint_id in state.checkpoints:
        return state
    saved = {**state.checkpoints, checkpoint.checkpoint_id: checkpoint.created_at}
    return state.model_copy(update={"checkpoints": dict(sorted(saved.items()))})


def _drop(state: RunState, event: TrainingCheckpointDropped) -> RunState:
    if event.checkpoint_id in state.dropped:
        return state
    return state.model_copy(update={"dropped": sorted([*state.dropped, event.checkpoint_id])})
