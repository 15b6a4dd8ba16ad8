"""How fast queues move, and how long what waits in them has waited.

Brokers tell how many events wait, and neither rates nor the oldest. The gateway hears every event, so it knows which
queue each of them came to: with so many waiting, the oldest of them is the one that came so many events ago.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from messages.base import Event, Kind, is_inbox, worker_inbox
from messages.runs import RunAssigned
from messages.scheduler import SchedulerAdmitted, SchedulerStarted, SchedulerWaiting
from messages.workers import WorkerFenced, WorkerStarted, WorkerStopped
from shared.bus.base import Queue, QueueStats
from shared.bus.outside import BRIDGE
from shared.bus.topology import ALL, admission_queue, matches, worker_queue
from shared.newest import Newest
from voxloom.models import QueueFigures

WINDOW_SECS = 60.0
"""Rates are of the last so many seconds."""
BUSY_SECONDS = 3600
"""Seconds in which something came that are remembered of a queue of the system; of a worker's own, fewer."""
BUSY_SECONDS_OF_A_WORKER = 60
MOST_WORKERS = 10_000
MOST_SCHEDULERS = 8


class Sample(NamedTuple):
    time: float
    waiting: int
    came: int
    """How many had come to the queue by then, since it is watched."""


class Oldest(NamedTuple):
    seconds: float
    at_least: bool = False


@dataclass(slots=True)
class Second:
    """What came to a queue within one second."""

    first: float
    count: int = 1


class Flow:
    """What came to one queue, second by second, and how many waited when."""

    def __init__(self, queue: Queue, busy_seconds: int = BUSY_SECONDS) -> None:
        self.queue = queue
        self._came = 0
        self._seconds: deque[Second] = deque(maxlen=busy_seconds)
        self._until = float("-inf")
        self._samples: deque[Sample] = deque()

    def count(self, moment: float) -> None:
        """Something came. `moment` may be a little before that of what came earlier: clocks differ."""
        self._came += 1
        if moment < self._until:
            self._seconds[-1].count += 1
        else:
            self._seconds.append(Second(moment))
            self._until = moment + 1.0

    def sample(self, now: float, waiting: int) -> None:
        self._samples.append(Sample(now, waiting, self._came))
        while self._samples[0].time < now - WINDOW_SECS:
            self._samples.popleft()

    def rates(self) -> tuple[float, float] | None:
        """Events a second in and out, or None where it was not watched for long enough."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        elapsed = last.time - first.time
        if elapsed <= 0:
            return None
        came = last.came - first.came
        went = came - (last.waiting - first.waiting)
        return came / elapsed, max(0, went) / elapsed

    def oldest(self, waiting: int, now: float, heard_since: float | None) -> Oldest | None:
        """How long the oldest of so many has waited. `heard_since`: what came earlier was not heard."""
        if waiting <= 0:
            return None
        for second in reversed(self._seconds):
            waiting -= second.count
            if waiting <= 0:
                return Oldest(max(0.0, now - second.first))
        if self._seconds:
            return Oldest(max(0.0, now - self._seconds[0].first), at_least=True)
        return None if heard_since is None else Oldest(max(0.0, now - heard_since), at_least=True)


class QueueWatch:
    """All queues. Hears the whole event stream, so hearing costs about a microsecond."""

    def __init__(self, queues: Sequence[Queue] = (*ALL, BRIDGE), clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._flows = {queue.name: Flow(queue) for queue in queues}
        self._of_kind: dict[Kind, tuple[Flow, ...]] = {}
        self._workers: Newest[str, Flow] = Newest(MOST_WORKERS)
        self._inboxes: Newest[str, Flow] = Newest(MOST_WORKERS)
        """The same, by what is bound to it."""
        self._shared_inboxes = {
            one: flow for flow in self._flows.values() for one in flow.queue.bindings if is_inbox(one)
        }
        self._schedulers: Newest[str, Flow] = Newest(MOST_SCHEDULERS)
        self._stats: list[QueueStats] = []
        self._heard_since: float | None = None

    def hear(self, event: Event) -> None:
        moment = min(event.time.timestamp(), self._clock())  # where a clock is ahead, all that follows looks younger
        if self._heard_since is None:
            self._heard_since = moment
        kind = event.kind
        flows = self._of_kind.get(kind)
        for flow in self._learn(kind) if flows is None else flows:
            flow.count(moment)
        for key in _further_keys(event):
            if (inbox := self._inboxes.get(key) or self._shared_inboxes.get(key)) is not None:
                inbox.count(moment)
        if kind.event in _OF_INSTANCES:
            self._hear_of_instance(event, moment)

    def _learn(self, kind: Kind) -> tuple[Flow, ...]:
        """Which queues an event of that kind comes to: their bindings name kinds, and nothing beyond."""
        key = f"{kind.name}.project.id"
        found = tuple(flow for flow in self._flows.values() if any(matches(one, key) for one in flow.queue.bindings))
        self._of_kind[kind] = found
        return found

    def _hear_of_instance(self, event: Event, moment: float) -> None:
        match event:
            case WorkerStarted():
                self._meet_worker(event.subject)
            case WorkerStopped() | WorkerFenced():
                self._forget_worker(event.subject)
            case SchedulerWaiting():
                self._meet_scheduler(event.subject)
            case SchedulerStarted():
                self._meet_scheduler(event.source.removeprefix("scheduler/"))
            case SchedulerAdmitted():
                for flow in (*self._workers.values(), *self._schedulers.values()):
                    flow.count(moment)

    def _meet_worker(self, incarnation: str) -> None:
        if incarnation in self._workers:
            return
        flow = self._workers[incarnation] = Flow(worker_queue(incarnation), BUSY_SECONDS_OF_A_WORKER)
        self._inboxes[flow.queue.bindings[0]] = flow

    def _forget_worker(self, incarnation: str) -> None:
        if (flow := self._workers.pop(incarnation, None)) is not None:
            del self._inboxes[flow.queue.bindings[0]]

    def _meet_scheduler(self, instance: str) -> None:
        if instance not in self._schedulers:
            self._schedulers[instance] = Flow(admission_queue(instance), BUSY_SECONDS_OF_A_WORKER)

    def of_instances(self) -> list[str]:
        """The names of the queues that workers and schedulers have for themselves."""
        return [flow.queue.name for flow in (*self._workers.values(), *self._schedulers.values())]

    def sample(self, stats: Iterable[QueueStats]) -> None:
        """How many wait now."""
        now = self._clock()
        self._stats = list(stats)
        known = self._all()
        for one in self._stats:
            if (flow := known.get(one.name)) is not None:
                flow.sample(now, one.waiting)

    def report(self) -> list[QueueFigures]:
        """Of every queue there was at the last sample; those of the system first, in their order."""
        known = self._all()
        places = {name: place for place, name in enumerate(known)}
        return sorted(
            self._figures(known, self._clock()), key=lambda one: (places.get(one.name, len(places)), one.name)
        )

    def _figures(self, known: dict[str, Flow], now: float) -> Iterator[QueueFigures]:
        for one in self._stats:
            flow = known.get(one.name)
            rates = flow.rates() if flow is not None else None
            oldest = flow.oldest(one.waiting, now, self._heard_since) if flow is not None else None
            yield QueueFigures(
                name=one.name,
                waiting=one.waiting,
                consumers=one.consumers,
                in_per_second=rates[0] if rates else None,
                out_per_second=rates[1] if rates else None,
                oldest_seconds=oldest.seconds if oldest else None,
                oldest_at_least=oldest is not None and oldest.at_least,
            )

    def _all(self) -> dict[str, Flow]:
        own = {flow.queue.name: flow for flow in (*self._schedulers.values(), *self._workers.values())}
        return {**self._flows, **own}


_OF_INSTANCES = frozenset(
    {WorkerStarted, WorkerStopped, WorkerFenced, SchedulerWaiting, SchedulerStarted, SchedulerAdmitted}
)


def _further_keys(event: Event) -> tuple[str, ...]:
    """Of copies, and of what a worker alone is told, which is not in the stream."""
    return (worker_inbox(event.incarnation),) if isinstance(event, RunAssigned) else event.copy_to
