"""A worker: does the runs that the scheduler assigns to it, each in a process of its own.

Consumes its own queue (assignments, passed stops, ends); publishes `started` and `finished`, and live: heartbeats,
progress, log lines. An assignment is settled as soon as it is claimed: from then on the run is held by a lease, which
the heartbeats keep.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from messages.base import Event
from messages.executions import (
    ExecutionAssigned,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionRequeued,
    ExecutionStopPassed,
    ExecutionStopped,
    Result,
)
from messages.workers import Holding, Lane, WorkerDraining, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.worker.attempt import Attempt, Node
from services.worker.data import Materials
from services.worker.devices import discover
from services.worker.outbox import Outbox
from services.worker.pool import Pool
from shared.bus import topology
from shared.service import Platform, Service
from voxloom.ids import new_id
from voxloom.models import RunError

SETTLE_SECS = 5.0
"""How long a stopping worker waits to hear that what it reported has been settled."""
REPEAT_SECS = 10.0
"""A report that nobody has settled is said again after so long."""
GIVE_UP_SECS = 600.0


@dataclass
class _Report:
    """What the scheduler was told of an attempt and has not answered yet."""

    finished: ExecutionFinished
    since: float
    repeat_at: float


_NO_LANE = Lane(device_class="", device="", slots=0)


class _LaneQueue:
    """The slots of one lane, and the attempts that wait for one."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.free = lane.slots
        self.waiting: deque[Attempt] = deque()


class Worker(Service):
    name = "worker"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.incarnation = new_id()
        self._lanes = {lane.device_class: _LaneQueue(lane) for lane in discover(self.settings)}
        self._outbox = Outbox(platform.bus)
        self._pool = Pool(warm=self.settings.warm_processes, memory=self.settings.runner_memory)
        self._materials = Materials(platform.store, platform.store.scratch / "worker")
        self._node = Node(
            platform.bus, platform.store, self.settings, self._pool, self._materials, self.incarnation, self._outbox
        )
        self._attempts: dict[str, Attempt] = {}
        self._unsettled: dict[str, _Report] = {}
        self._early_stops: dict[tuple[str, int], float] = {}
        self._epoch = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._all_settled = asyncio.Event()
        self._all_settled.set()
        self._hurry = asyncio.Event()

    async def on_start(self) -> None:
        await self._materials.open()
        self._pool.prespawn()
        self.spawn("outbox", self._outbox.run())
        self.keep(await self.bus.consume(topology.worker_queue(self.incarnation), self.handle))
        self._outbox.put(
            WorkerStarted(subject=self.incarnation, worker_id=self.settings.worker_id, lanes=self._offer())
        )
        self.spawn("heartbeat", self._keep_beating())

    async def stop(self) -> None:
        """Drains while its queue is still served, so that stops and ends reach it, then stops."""
        await self._drain()
        await super().stop()

    async def on_stop(self) -> None:
        await self._pool.close()
        await self._materials.close()
        await self.bus.delete_queue(topology.worker_queue(self.incarnation).name)

    def hurry(self) -> None:
        """Does not wait for running work any longer."""
        self._hurry.set()

    # what the scheduler says

    async def handle(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case ExecutionAssigned():
                    self._claim(event)
                case ExecutionStopPassed():
                    self._stop(event)
                case ExecutionCompleted() | ExecutionFailed() | ExecutionStopped() | ExecutionRequeued():
                    self._settle(event)
                case _:
                    self.log.warning("an event that is not for workers: %s", event.type_name())

    def _claim(self, assignment: ExecutionAssigned) -> None:
        if assignment.epoch < self._epoch:
            return
        self._epoch = assignment.epoch
        run = assignment.subject
        if self._knows(run, assignment.attempt):
            return
        lane = self._lanes.get(assignment.device_class)
        attempt = Attempt(assignment, lane.lane if lane else _NO_LANE, self._node)
        if lane is None:
            self._report(attempt.report("failed", _no_lane(assignment)))
        elif self._early_stops.pop((run, assignment.attempt), None) is not None:
            self._report(attempt.report("stopped", Result()))
        elif self._draining:
            self._report(attempt.report("released", Result()))
        else:
            self._attempts[run] = attempt
            self._idle.clear()
            lane.waiting.append(attempt)
            self._begin_waiting(lane)

    def _knows(self, run: str, number: int) -> bool:
        """Whether this attempt, or a later one, has been claimed before: the same assignment may come twice."""
        attempt, report = self._attempts.get(run), self._unsettled.get(run)
        return (attempt is not None and attempt.number >= number) or (
            report is not None and report.finished.attempt >= number
        )

    def _begin_waiting(self, lane: _LaneQueue) -> None:
        while lane.free and lane.waiting:
            lane.free -= 1
            attempt = lane.waiting.popleft()
            self.spawn(f"run.{attempt.run}", self._perform(attempt, lane))

    async def _perform(self, attempt: Attempt, lane: _LaneQueue) -> None:
        try:
            finished = await attempt.perform()
        except Exception as error:
            # Ours, not the author's: the run must end all the same, and the worker serve the next one.
            self.log.exception("attempt %d of %s went wrong in the worker", attempt.number, attempt.run)
            finished = attempt.report("failed", _internal(error))
        finally:
            lane.free += 1
            self._begin_waiting(lane)
        self._over(attempt, finished)

    def _over(self, attempt: Attempt, finished: ExecutionFinished) -> None:
        if self._attempts.get(attempt.run) is attempt:
            del self._attempts[attempt.run]
            self._report(finished)
        if not self._attempts:
            self._idle.set()

    def _report(self, finished: ExecutionFinished) -> None:
        now = time.monotonic()
        self._unsettled[finished.subject] = _Report(finished, since=now, repeat_at=now + REPEAT_SECS)
        self._all_settled.clear()
        self._outbox.put(finished)

    def _stop(self, event: ExecutionStopPassed) -> None:
        attempt = self._attempts.get(event.subject)
        if attempt is None:
            if event.subject not in self._unsettled:
                self._early_stops[event.subject, event.attempt] = time.monotonic()
            return
        if attempt.number != event.attempt:
            return
        attempt.stop()
        self._drop_waiting(attempt, "stopped")

    def _drop_waiting(self, attempt: Attempt, outcome: Literal["stopped", "released"]) -> None:
        """Ends an attempt that has not begun."""
        for lane in self._lanes.values():
            if attempt in lane.waiting:
                lane.waiting.remove(attempt)
                self._over(attempt, attempt.report(outcome, Result()))

    def _settle(self, event: Event) -> None:
        """The scheduler has decided about an attempt of ours."""
        known = self._unsettled.get(event.subject)
        if known is not None and known.finished.attempt == event.attempt:
            del self._unsettled[event.subject]
            if not self._unsettled:
                self._all_settled.set()
        attempt = self._attempts.get(event.subject)
        if attempt is not None and attempt.number == event.attempt:
            self._abandon(attempt)

    def _abandon(self, attempt: Attempt) -> None:
        """Fenced: it was decided without us, and what this attempt would still say is ignored."""
        self.log.warning("attempt %d of %s was taken away and is killed", attempt.number, attempt.run)
        del self._attempts[attempt.run]
        for lane in self._lanes.values():
            if attempt in lane.waiting:
                lane.waiting.remove(attempt)
        attempt.release()
        if not self._attempts:
            self._idle.set()

    # heartbeats

    async def _keep_beating(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self.settings.heartbeat)

    def _beat(self) -> None:
        now = time.monotonic()
        self._repeat_reports(now)
        held = [(attempt.run, attempt.number) for attempt in self._attempts.values()]
        held += [(run, report.finished.attempt) for run, report in self._unsettled.items()]
        self._early_stops = {key: since for key, since in self._early_stops.items() if now - since < GIVE_UP_SECS}
        self.bus.announce(
            WorkerHeartbeat(
                subject=self.incarnation,
                worker_id=self.settings.worker_id,
                lanes=self._offer(),
                holding=[Holding(run=run, attempt=number) for run, number in held],
                draining=self._draining,
            )
        )

    def _repeat_reports(self, now: float) -> None:
        """A report that nobody has settled is said again, until it is too old to matter."""
        self._unsettled = {run: report for run, report in self._unsettled.items() if now - report.since < GIVE_UP_SECS}
        for report in self._unsettled.values():
            if report.repeat_at < now:
                report.repeat_at = now + REPEAT_SECS
                self._outbox.put(report.finished)

    def _offer(self) -> list[Lane]:
        return [queue.lane for queue in self._lanes.values()]

    # the end

    async def _drain(self) -> None:
        """Gives back what has not begun, lets the rest end, gives back what takes too long, says goodbye."""
        self._draining = True
        self._outbox.put(WorkerDraining(subject=self.incarnation, worker_id=self.settings.worker_id))
        for lane in self._lanes.values():
            for attempt in list(lane.waiting):
                self._drop_waiting(attempt, "released")
        await self._wait_idle(self.settings.drain)
        for attempt in list(self._attempts.values()):
            attempt.release()
        await _within(self._idle.wait(), self.settings.grace)
        await _within(self._all_settled.wait(), SETTLE_SECS)
        self._outbox.put(WorkerStopped(subject=self.incarnation, worker_id=self.settings.worker_id))
        if not await self._outbox.drained(SETTLE_SECS):
            self.log.error("the bus did not take all that this worker had to say; its runs will be tried again")

    async def _wait_idle(self, timeout: float) -> None:
        idle = asyncio.create_task(self._idle.wait(), name="worker.idle")
        hurry = asyncio.create_task(self._hurry.wait(), name="worker.hurry")
        await asyncio.wait({idle, hurry}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.gather(idle, hurry, return_exceptions=True)


async def _within(waiting: Coroutine[Any, Any, Any], timeout: float) -> bool:
    try:
        await asyncio.wait_for(waiting, timeout)
    except TimeoutError:
        return False
    return True


def _internal(error: Exception) -> Result:
    message = f"The worker could not do this run: {error}. Its log says more."
    return Result(error=RunError(type=type(error).__name__, message=message, code="worker_error", retryable=True))


def _no_lane(assignment: ExecutionAssigned) -> Result:
    message = f"Worker {assignment.worker_id} has no device of class {assignment.device_class}."
    return Result(error=RunError(type="NoDevice", message=message, code="no_device", retryable=True))
