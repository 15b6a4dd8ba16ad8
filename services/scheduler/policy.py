"""The scheduler's choices, pure: state in, choices out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from services.scheduler.state import Job, State, Worker


@dataclass(frozen=True)
class Choice:
    """This job goes to that worker, on that device class."""

    job: Job
    worker: Worker
    device_class: str


def next_choice(state: State, now: float) -> Choice | None:
    """The one assignment to make now; None if nothing fits. Takes the job out of its line, or keeps a worker for one
    that is to be tried alone: those come first, as others wait for them.

    Among lines that find a worker, the project that has had the least of the workers' time by its weight comes first,
    then the higher priority, then the older run. Whose limit is reached is passed over, and others go on meanwhile.
    The worker is the one that has the run's session, where it has room, else the one with the most free slots.
    """
    if (alone := _alone(state)) is not None:
        return alone
    while True:
        lines = list(_lines(state, now))
        best = min((line for line in lines if line.first is not None), default=None, key=lambda line: line.rank)
        if best is None:
            return None
        job = state.take(best.devices, best.rank.project)
        if job is not None and job.lease is None:
            _save_nothing_up(state, lines, best, now)
            return Choice(job, _at_home(state, job, best.device_class) or best.worker, best.device_class)


def _alone(state: State) -> Choice | None:
    """A run that may bring its worker down goes to one that has nothing else. One that is to have it is kept for it:
    what runs there ends, and nothing new begins."""
    for job in sorted(state.suspects.values(), key=lambda job: (-job.work.priority, job.order)):
        if not state.may_begin(job.project):
            _let_go(state, job)
            continue
        device_class = next(filter(state.offered, job.devices), None)
        worker = _worker_for(state, job, device_class) if device_class is not None else None
        if worker is None or device_class is None:
            continue
        if not worker.runs and worker.offers(device_class):
            return Choice(job, worker, device_class)
        if worker.kept_for is None:
            state.keep(worker, job)
    return None


def _worker_for(state: State, job: Job, device_class: str) -> Worker | None:
    """The one that is kept for it, or else one that others leave soonest."""
    keeper = state.keeper(job)
    if keeper is not None and keeper.offers(device_class):
        return keeper
    if keeper is not None:
        state.keep(keeper, None)
    free = [one for one in state.workers.values() if one.kept_for is None and one.offers(device_class)]
    return min(free, key=lambda one: len(one.runs), default=None)


def _let_go(state: State, job: Job) -> None:
    """Nobody idles for a run that must not begin now."""
    if (keeper := state.keeper(job)) is not None:
        state.keep(keeper, None)


def _at_home(state: State, job: Job, device_class: str) -> Worker | None:
    """What lives in a process alone, such as a model on a card, is only there; the rest of a session moves."""
    home = state.home(job)
    return home if home is not None and home.room(device_class) > 0 else None


class _Rank(NamedTuple):
    """The least goes first."""

    had: float
    priority: int = 0
    """Negative."""
    order: int = 0
    project: str = ""


_LAST = _Rank(math.inf)


@dataclass(frozen=True)
class _Line:
    """One that finds a worker."""

    devices: tuple[str, ...]
    worker: Worker
    device_class: str
    first: _Rank | None
    """None: all that wait there are held back by the limits of their projects."""
    held_back: Sequence[str]
    """Projects."""

    @property
    def rank(self) -> _Rank:
        return self.first or _LAST


def _lines(state: State, now: float) -> Iterator[_Line]:
    for devices, line in state.waiting.items():
        place = find_place(state, devices)
        if place is None:
            continue
        ranks: list[_Rank] = []
        held_back: list[str] = []
        for project, (priority, order, _) in line.heads():
            if state.has_room(project):
                ranks.append(_Rank(state.shares.of(project, now), priority, order, project))
            else:
                held_back.append(project)
        yield _Line(devices, *place, min(ranks, default=None), held_back)


def _save_nothing_up(state: State, lines: Sequence[_Line], best: _Line, now: float) -> None:
    """Who waits for the same workers and is held back by their own limit has no more time to their credit afterwards
    than who goes in their place."""
    for line in lines:
        if line.device_class == best.device_class:
            for project in line.held_back:
                state.shares.draw_level(project, best.rank.had, now)


def find_place(state: State, devices: tuple[str, ...]) -> tuple[Worker, str] | None:
    """A worker with room, on the first of the wanted device classes that any worker offers at all.

    A class that is offered but full is waited for: a run that wants a card does not drop to the processor because
    the card is busy.
    """
    for device_class in devices:
        worker = state.freest(device_class)
        if worker is not None:
            return worker, device_class
        if state.offered(device_class):
            return None
    return None


After = Literal["stopped", "failed", "again"]


def after_loss(job: Job, max_lost: int) -> After:
    """What becomes of a run whose attempt was lost with its worker; `job.lost` counts this one if it had begun."""
    if job.stop_requested:
        return "stopped"
    return "failed" if job.lost >= max_lost else "again"


def after_report(outcome: str, stop_requested: bool) -> Literal["completed", "failed", "stopped", "again"]:
    """What becomes of a run whose worker has reported. A run that was asked to stop and then failed was stopped: its
    failure is how it ended on the way out."""
    if outcome == "completed":
        return "completed"
    if stop_requested:
        return "stopped"
    if outcome == "released":
        return "again"
    return "stopped" if outcome == "stopped" else "failed"
