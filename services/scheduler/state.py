"""What a scheduler knows: runs that wait, runs that are leased to workers, workers and their room."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from messages.runs import Work
from messages.workers import Lane
from services.scheduler.limits import Limits
from services.scheduler.shares import Shares
from shared.newest import Newest

QUICK_SECS = 0.5
"""A lane whose runs last less than this gets one run ahead per slot, so that it never idles for a round trip. Longer
runs wait in the scheduler's queue, where any worker can take them."""
AHEAD_SECS = 0.1
"""Of runs that are quicker still, as many go ahead as a slot does in this time: so all that is said of them is said of
several at once, and whoever comes next waits no longer than that."""
MOST_AHEAD = 8
_SMOOTHING = 0.3
MOST_SESSIONS = 10_000
"""Every run has a session, most are never used again: so many are remembered."""

_T = TypeVar("_T")


@dataclass
class Lease:
    """A run in a worker's hands. Times are this scheduler's monotonic seconds."""

    incarnation: str
    worker_id: str
    device_class: str
    since: float
    """When it was given, or later: since when it may be claimed."""
    claimed: bool = False
    began: bool = False
    """Whether the author's code has: only then may it be what has brought the worker down."""
    missed: int = 0
    """Heartbeats in a row that did not list a claimed run."""
    given: float = 0.0


@dataclass
class Job:
    """A run that has not ended."""

    run: str
    project: str
    work: Work
    submitted: datetime
    order: int
    attempt: int = 0
    lost: int = 0
    """Attempts that were lost after their code had begun."""
    stop_requested: bool = False
    lease: Lease | None = None
    queued: float = 0.0
    """Since when it waits, in this scheduler's monotonic seconds."""

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self.work.devices)


def runs_ahead(mean_secs: float) -> int:
    """For each slot of a lane whose runs last so long."""
    if mean_secs >= QUICK_SECS:
        return 0
    return int(min(MOST_AHEAD, max(1.0, AHEAD_SECS / max(mean_secs, 1e-6))))


@dataclass
class LaneState:
    """A worker's room for one device class."""

    slots: int
    load: int = 0
    mean_secs: float = QUICK_SECS

    @property
    def capacity(self) -> int:
        return self.slots * (1 + runs_ahead(self.mean_secs))

    def observe(self, run_seconds: float) -> None:
        self.mean_secs += _SMOOTHING * (run_seconds - self.mean_secs)

    def observe_wait(self) -> None:
        """A run has waited there in vain: what runs there now is not quick, however quick others were."""
        self.mean_secs = max(self.mean_secs, QUICK_SECS)


@dataclass
class Worker:
    """One incarnation of a worker."""

    incarnation: str
    worker_id: str
    last_seen: float
    lanes: dict[str, LaneState] = field(default_factory=dict)
    draining: bool = False
    runs: set[str] = field(default_factory=set)
    kept_for: str | None = None
    """The run that is tried there alone, or is to be as soon as all others there have ended."""
    beating_since: datetime | None = None
    """When it said the first heartbeat that was heard here, by its own clock."""

    def room(self, device_class: str) -> int:
        lane = self.lanes.get(device_class)
        return 0 if lane is None or self.draining or self.kept_for is not None else lane.capacity - lane.load

    def offers(self, device_class: str) -> bool:
        """Whether it takes runs of that class, now or once others have ended."""
        lane = self.lanes.get(device_class)
        return lane is not None and lane.slots > 0 and not self.draining

    def free(self, device_class: str) -> int:
        """Slots that a run would begin in at once; below 1 it would wait for another to end."""
        lane = self.lanes[device_class]
        return lane.slots - lane.load


@dataclass
class Gone:
    """An incarnation that is over. Times are this scheduler's monotonic seconds."""

    reason: Literal["silent", "replaced", "stopped"]
    since: float
    told: float
    """When it was last told."""


class Waiting:
    """The queue of one list of acceptable devices: by project, within it by priority and age."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, job: Job) -> None:
        heapq.heappush(self._heaps[job.project], (-job.work.priority, job.order, job.run))
        self._count += 1

    def pop(self, project: str) -> str:
        heap = self._heaps[project]
        _, _, run = heapq.heappop(heap)
        self._count -= 1
        if not heap:
            del self._heaps[project]
        return run

    def heads(self) -> Iterator[tuple[str, tuple[int, int, str]]]:
        """Every project that waits, with the first of its line."""
        for project, heap in self._heaps.items():
            yield project, heap[0]

    def runs(self) -> list[str]:
        return [run for heap in self._heaps.values() for _, _, run in heap]


class State:
    """Jobs and workers, kept consistent with each other. No decisions are made here."""

    def __init__(self, alone_after: int = 3) -> None:
        """`alone_after`: a run with so many lost attempts is tried alone."""
        self._alone_after = alone_after
        self.jobs: dict[str, Job] = {}
        self.waiting: dict[tuple[str, ...], Waiting] = {}
        self.suspects: dict[str, Job] = {}
        """Runs that wait to be tried alone."""
        self.workers: dict[str, Worker] = {}
        self.shares = Shares()
        self.limits = Limits()
        self.settled: dict[str, float] = {}
        """Ended runs and when, for late repetitions. The oldest first."""
        self.gone: dict[str, Gone] = {}
        """Incarnations that are over, the oldest first."""
        self._homes: Newest[tuple[str, str], str] = Newest(MOST_SESSIONS)
        """project, session → the incarnation that its newest run was given to; the oldest first."""
        self._free: dict[str, dict[int, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        """device class → free slots → incarnations with room and so many of them (a dict, to keep an order)."""
        self._free_of: dict[tuple[str, str], int] = {}
        self._orders = itertools.count()

    # limits of projects

    def obey(self, limits: Limits, now: float) -> None:
        """From now on. Of what is held nothing is taken away where it is more than a new limit."""
        if limits != self.limits:
            self.limits = limits
            self.shares.weigh(limits.weights, now)

    def may_begin(self, project: str) -> bool:
        """Whether its limit allows one more run."""
        at_once = self.limits.at_once.get(project)
        return at_once is None or self.shares.held(project) < at_once

    def has_room(self, project: str) -> bool:
        """The same, with a place left for each of its runs that a worker is kept for."""
        at_once = self.limits.at_once.get(project)
        return at_once is None or self.shares.held(project) + self._kept_for(project) < at_once

    def _kept_for(self, project: str) -> int:
        if not self.suspects:
            return 0
        kept = (self.suspects.get(one.kept_for) for one in self.workers.values() if one.kept_for is not None)
        return sum(job is not None and job.project == project for job in kept)

    # jobs

    def add(self, job: Job, now: float) -> None:
        job.order = next(self._orders)
        self.jobs[job.run] = job
        self.shares.enter(job.project, now)
        if job.lease is None:
            self.enqueue(job, now)
        else:
            self._hold(job, job.lease, now)

    def enqueue(self, job: Job, now: float) -> None:
        """Into the line, at the place that its age gives it."""
        job.queued = now
        if self.is_suspect(job):
            self.suspects[job.run] = job
            return
        self.waiting.setdefault(job.devices, Waiting()).push(job)

    def is_suspect(self, job: Job) -> bool:
        """Whether it may be what brings its workers down: others are to be spared."""
        return job.lost >= self._alone_after

    def keep(self, worker: Worker, job: Job | None) -> None:
        """For that run alone; None: for all again."""
        worker.kept_for = None if job is None else job.run
        self.index(worker)

    def keeper(self, job: Job) -> Worker | None:
        """The worker that is kept for a run."""
        return next((one for one in self.workers.values() if one.kept_for == job.run and not one.draining), None)

    def take(self, devices: tuple[str, ...], project: str) -> Job | None:
        """The first of a project's line; None if that run has ended while it waited."""
        line = self.waiting[devices]
        job = self.jobs.get(line.pop(project))
        if not line:
            del self.waiting[devices]
        return job

    def empty(self, devices: tuple[str, ...]) -> list[Job]:
        """Takes all out of one line."""
        return [self.jobs[run] for run in self.waiting.pop(devices).runs() if run in self.jobs]

    def lease(self, job: Job, worker: Worker, device_class: str, now: float) -> None:
        job.attempt += 1
        self.suspects.pop(job.run, None)
        self._hold(job, Lease(worker.incarnation, worker.worker_id, device_class, now), now)
        self._settle_session(job, worker)

    def _settle_session(self, job: Job, worker: Worker) -> None:
        if not job.work.session_token:
            return
        session = job.project, job.work.session_token
        self._homes[session] = worker.incarnation

    def home(self, job: Job) -> Worker | None:
        """The worker that has, or had, the run's session in its processes; None where that is not known."""
        return self.workers.get(self._homes.get((job.project, job.work.session_token), ""))

    def release(self, job: Job, now: float, ran: float | None = None) -> None:
        """Out of its worker's hands; `ran`: the seconds that its code took, where that is known."""
        lease = job.lease
        if lease is None:
            return
        job.lease = None
        self.shares.end(job.project, lease.given, now, ran)
        worker = self.workers.get(lease.incarnation)
        if worker is not None:
            worker.runs.discard(job.run)
            if lease.device_class in worker.lanes:
                worker.lanes[lease.device_class].load -= 1
            if worker.kept_for == job.run:
                worker.kept_for = None
            self.index(worker)

    def settle(self, job: Job, now: float, ran: float | None = None) -> None:
        """It has ended."""
        self.release(job, now, ran)
        self.shares.leave(job.project)
        if self.suspects.pop(job.run, None) is not None and (keeper := self.keeper(job)) is not None:
            self.keep(keeper, None)
        del self.jobs[job.run]
        self.settled[job.run] = now

    def _hold(self, job: Job, lease: Lease, now: float) -> None:
        job.lease = lease
        lease.given = now
        self.shares.begin(job.project, now)
        worker = self.workers.get(lease.incarnation)
        if worker is not None:
            worker.runs.add(job.run)
            if self.is_suspect(job):
                worker.kept_for = job.run
            if lease.device_class in worker.lanes:
                worker.lanes[lease.device_class].load += 1
            self.index(worker)

    # workers

    def set_lanes(self, worker: Worker, lanes: list[Lane]) -> None:
        """What a worker says it offers."""
        if {name: lane.slots for name, lane in worker.lanes.items()} == {
            lane.device_class: lane.slots for lane in lanes
        }:
            return
        held = Counter(lease.device_class for run in worker.runs if (lease := self.jobs[run].lease))
        worker.lanes = {lane.device_class: LaneState(lane.slots, held[lane.device_class]) for lane in lanes}
        self.index(worker)

    def drain(self, worker: Worker) -> None:
        """It takes nothing new any more."""
        if not worker.draining:
            worker.draining = True
            self.index(worker)

    def remove(self, worker: Worker, gone: Gone) -> list[Job]:
        """The worker is gone; returns the jobs that it held, still leased."""
        self.gone.pop(worker.incarnation, None)
        self.gone[worker.incarnation] = gone
        del self.workers[worker.incarnation]
        for device_class in list(worker.lanes):
            self._unindex(device_class, worker.incarnation)
        return [self.jobs[run] for run in worker.runs]

    def index(self, worker: Worker) -> None:
        """Notes how much room a worker has; to be called after every change of it."""
        for device_class in worker.lanes:
            self._unindex(device_class, worker.incarnation)
            if worker.room(device_class) > 0:
                free = worker.free(device_class)
                self._free[device_class][free][worker.incarnation] = None
                self._free_of[device_class, worker.incarnation] = free

    def freest(self, device_class: str) -> Worker | None:
        """The worker that takes the next run of that class: one with the most free slots, and one where it would wait
        only if there is no other. In steps that depend on slots only, not on workers."""
        free = self._free.get(device_class)
        if not free:
            return None
        return self.workers[next(iter(free[max(free)]))]

    def offered(self, device_class: str) -> bool:
        """Whether any worker that takes runs has that class, free or not."""
        return any(device_class in worker.lanes and not worker.draining for worker in self.workers.values())

    def _unindex(self, device_class: str, incarnation: str) -> None:
        free = self._free_of.pop((device_class, incarnation), None)
        if free is None:
            return
        incarnations = self._free[device_class]
        del incarnations[free][incarnation]
        if not incarnations[free]:
            del incarnations[free]

    def forget(self, before: float) -> None:
        """Lets go of ids that only late repetitions could name."""
        _drop_older(self.settled, before, lambda since: since)
        _drop_older(self.gone, before, lambda gone: gone.since)


def _drop_older(items: dict[str, _T], before: float, time_of: Callable[[_T], float]) -> None:
    """Drops the front of what is sorted by time."""
    while items and time_of(items[first := next(iter(items))]) <= before:
        del items[first]
