"""The scheduler's choices, pure: state in, choices out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

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

    Among lines that find a worker, the project that has had the least of the workers' time comes first, then the higher
    priority, then the older run. The worker is the one that has the run's session, where it has room, else the one with
    the most free slots.
    """
    if (alone := _alone(state)) is not None:
        return alone
    while True:
        best = min(_candidates(state, now), default=None, key=lambda candidate: candidate[0])
        if best is None:
            return None
        _, devices, project, worker, device_class = best
        job = state.take(devices, project)
        if job is not None and job.lease is None:
            return Choice(job, _at_home(state, job, device_class) or worker, device_class)


def _alone(state: State) -> Choice | None:
    """A run that may bring its worker down goes to one that has nothing else. One that is to have it is kept for it:
    what runs there ends, and nothing new begins."""
    for job in sorted(state.suspects.values(), key=lambda job: (-job.work.priority, job.order)):
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


def _at_home(state: State, job: Job, device_class: str) -> Worker | None:
    """What lives in a process alone, such as a model on a card, is only there; the rest of a session moves."""
    home = state.home(job)
    return home if home is not None and home.room(device_class) > 0 else None


_Candidate = tuple[tuple[float, int, int], tuple[str, ...], str, Worker, str]


def _candidates(state: State, now: float) -> Iterator[_Candidate]:
    for devices, line in state.waiting.items():
        place = find_place(state, devices)
        if place is None:
            continue
        worker, device_class = place
        had, head, project = min((state.shares.of(project, now), head, project) for project, head in line.heads())
        yield (had, head[0], head[1]), devices, project, worker, device_class


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
