"""A worker: does the runs that the scheduler assigns to it, each in a process of its own.

Consumes its own queue (assignments, passed stops, ends, fences); publishes `started` and `finished`, and live:
heartbeats, progress, log lines. An assignment is settled as soon as it is claimed: from then on the run is held by a
lease, which the heartbeats keep.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from messages.base import Event
from messages.runs import (
    Result,
    RunCompleted,
    RunFailed,
    RunFinished,
    RunHandedOver,
    RunRequeued,
    RunStopPassed,
    RunStopped,
)
from messages.scheduler import SchedulerAdmitted
from messages.workers import Holding, Lane, WorkerDraining, WorkerFenced, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.worker.attempt import Attempt, Node
from services.worker.data import Materials
from services.worker.devices import Device, discover
from services.worker.failures import internal, no_lane
from services.worker.lanes import NO_LANE, LaneQueue
from services.worker.pool import Pool
from services.worker.reports import Reports, failed_instead
from services.worker.threads import share
from shared import cores
from shared.bus import topology
from shared.bus.base import Subscription
from shared.bus.outbox import Outbox
from shared.outages import waiting
from shared.records.fold import ignored
from shared.records.ledger import DECISIONS
from shared.records.store import RecordStore
from shared.service import Platform, Service
from voxloom import __version__
from voxloom.backoff import Backoff
from voxloom.errors import Unavailable
from voxloom.ids import new_id

SETTLE_SECS = 5.0
"""How long a stopping worker waits to hear that what it reported has been settled."""
EARLY_STOP_SECS = 600.0
"""A stop whose assignment has not come yet is remembered for so long."""
AHEAD_SECS = 5.0
"""A run that has waited here for a slot is given back after so long: what runs before it lasts longer than the
scheduler thought, and another worker may have a slot free."""
FIRST_BEAT_SECS = 0.05
"""The first heartbeats follow one another this quickly, then ever slower: nobody may be listening yet."""


class Replaced(Exception):
    """Another worker has started under the same id."""


_HOST = socket.gethostname()


class Worker(Service):
    name = "worker"
    runs_work = True

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.incarnation = new_id()
        self._lanes: dict[str, LaneQueue] = {}
        self._outbox = Outbox(platform.bus, failed_instead)
        self._cores = cores.available()
        self._pool = Pool(
            warm=self.settings.warm_processes,
            memory=self.settings.runner_memory,
            threads=share(self._cores, self.settings.slots),
        )
        self._materials = Materials(platform.store, platform.store.scratch / "worker")
        self._node = Node(
            platform.bus,
            platform.store,
            RecordStore(platform.store),
            self.settings,
            self._pool,
            self._materials,
            self.incarnation,
            self._outbox,
            self._cores,
        )
        self._attempts: dict[str, Attempt] = {}
        self._reports = Reports(self._outbox)
        self._early_stops: dict[tuple[str, int], float] = {}
        self._epoch = 0
        self._inbox: Subscription | None = None
        self._rejoining = False
        self._beating: asyncio.Task[None] | None = None
        self._beat_at = time.monotonic()
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurry = asyncio.Event()

    async def on_start(self) -> None:
        await self._materials.open()
        self._pool.prespawn()
        offers = await asyncio.to_thread(discover, self.settings)
        self._lanes = {offer.lane.device_class: LaneQueue(offer) for offer in offers}
        self.spawn("outbox", self._outbox.run())
        await self._join(self.incarnation)
        self._beating = self.spawn("heartbeat", self._keep_beating())

    async def _join(self, incarnation: str) -> None:
        """From now on the scheduler may give it runs, under that incarnation; its inbox has to be there first."""
        self._inbox = self.keep(await self.bus.consume(topology.worker_queue(incarnation), self.handle))
        self.incarnation = incarnation
        self._node = replace(self._node, incarnation=incarnation)
        self._say_of_itself(WorkerStarted, lanes=self._offer())

    async def stop(self) -> None:
        """Drains while its queue is still served, so that stops and ends reach it, then stops."""
        if self._inbox is not None:
            await self._drain()
        await super().stop()

    async def on_stop(self) -> None:
        await self._pool.close()
        await self._materials.close()
        await self._delete_inbox(self.incarnation)

    async def _delete_inbox(self, incarnation: str) -> None:
        try:
            await self.bus.delete_queue(topology.worker_queue(incarnation).name)
        except Unavailable as error:
            self.log.warning("an inbox is left behind, and will expire: %s", error)

    def figures(self) -> Mapping[str, float]:
        return {
            "worker_slots": sum(queue.lane.slots for queue in self._lanes.values()),
            "worker_slots_free": sum(len(queue.free) for queue in self._lanes.values()),
            "worker_events_unsaid": len(self._outbox),
        }

    def hurry(self) -> None:
        """Does not wait for running work any longer."""
        self._hurry.set()

    # what the scheduler says

    async def handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, (*DECISIONS, SchedulerAdmitted, WorkerFenced)):
                if event.epoch < self._epoch:
                    continue  # said by a scheduler that is no longer in charge
                self._epoch = event.epoch
            if (owner := self._owner_of(event)) not in (None, event.project):
                self.log.warning("%s", ignored(event, str(owner)))
                continue
            self._hear(event)

    def _owner_of(self, event: Event) -> str | None:
        """The project of a run that this worker has, or has reported."""
        attempt = self._attempts.get(event.subject)
        return attempt.assignment.project if attempt is not None else self._reports.project_of(event.subject)

    def _hear(self, event: Event) -> None:
        match event:
            case RunHandedOver():
                self._claim(event)
            case RunStopPassed():
                self._stop(event)
            case RunCompleted() | RunFailed() | RunStopped() | RunRequeued():
                self._settle(event)
            case WorkerFenced():
                self._on_fenced(event)
            case SchedulerAdmitted():
                pass
            case _:
                self.log.warning("an event that is not for workers: %s", event.type_name)

    def _claim(self, assignment: RunHandedOver) -> None:
        run = assignment.subject
        if assignment.incarnation != self.incarnation or self._knows(run, assignment.attempt):
            return
        if run in self._attempts:
            self._abandon(self._attempts[run])
        lane = self._lanes.get(assignment.device_class)
        attempt = Attempt(assignment, lane.lane if lane else NO_LANE, self._node)
        if lane is None:
            self._report(attempt.report("failed", no_lane(assignment)))
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
        attempt = self._attempts.get(run)
        return (attempt is not None and attempt.number >= number) or self._reports.knows(run, number)

    def _begin_waiting(self, lane: LaneQueue) -> None:
        while lane.free and lane.waiting:
            attempt = lane.waiting.popleft()
            device = lane.take(partial(self._is_warm, attempt))
            self.spawn(f"run.{attempt.run}", self._perform(attempt, lane, device))

    def _is_warm(self, attempt: Attempt, device: Device) -> bool:
        return self._pool.has_idle(attempt.key_on(device))

    async def _perform(self, attempt: Attempt, lane: LaneQueue, device: Device) -> None:
        try:
            finished = await attempt.perform(device)
        except Exception as error:
            # Ours, not the author's: the run must end all the same, and the worker serve the next one.
            self.log.exception("attempt %d of %s went wrong in the worker", attempt.number, attempt.run)
            finished = attempt.report("failed", internal(error))
        finally:
            lane.free.append(device)
            self._begin_waiting(lane)
        self._over(attempt, finished)

    def _over(self, attempt: Attempt, finished: RunFinished) -> None:
        if self._attempts.get(attempt.run) is attempt:
            del self._attempts[attempt.run]
            self._report(finished)
        if not self._attempts:
            self._idle.set()

    def _report(self, finished: RunFinished) -> None:
        self._reports.add(finished, time.monotonic())

    def _stop(self, event: RunStopPassed) -> None:
        attempt = self._attempts.get(event.subject)
        if attempt is None or attempt.number < event.attempt:
            if not self._reports.knows(event.subject, event.attempt):
                self._early_stops[event.subject, event.attempt] = time.monotonic()
        elif attempt.number == event.attempt:
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
        self._reports.settle(event.subject, event.attempt, time.monotonic())
        attempt = self._attempts.get(event.subject)
        if attempt is not None and attempt.number <= event.attempt:
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

    # fenced

    def _on_fenced(self, event: WorkerFenced) -> None:
        if event.subject != self.incarnation:
            return
        for attempt in list(self._attempts.values()):
            self._abandon(attempt)
        self._reports.clear()
        if event.reason == "replaced":
            worker_id = self.settings.worker_id
            self.fail(Replaced(f"another worker has started as {worker_id}; give each a worker_id of its own"))
        elif not (self._draining or self._rejoining):
            self.log.warning("the scheduler has not heard of this worker for too long; it begins anew")
            self._rejoining = True
            self.spawn("rejoin", self._rejoin())

    async def _rejoin(self) -> None:
        """Nobody listens to a fenced incarnation any more: a new one, which holds nothing, takes its place."""
        former, inbox = self.incarnation, self._inbox
        while self.incarnation == former:
            try:
                await self._join(new_id())
            except Unavailable as error:
                self.log.warning("the worker cannot begin anew yet: %s", error, extra=waiting(error))
                await asyncio.sleep(self.settings.heartbeat)
        self._rejoining = False
        if inbox is not None:
            await self.let_go(inbox)
        await self._delete_inbox(former)

    # heartbeats

    async def _keep_beating(self) -> None:
        backoff = Backoff(FIRST_BEAT_SECS, self.settings.heartbeat)
        while True:
            self._beat()
            await asyncio.sleep(backoff.next())

    def _give_back_waiting(self, now: float) -> None:
        """Of a standstill of ours a heartbeat counts, or all that waits would be given back after it."""
        passed, self._beat_at = min(now - self._beat_at, self.settings.heartbeat), now
        for lane in self._lanes.values():
            for attempt in tuple(lane.waiting):
                attempt.waited += passed
                if attempt.waited > AHEAD_SECS:
                    self._drop_waiting(attempt, "released")

    def _beat(self) -> None:
        now = time.monotonic()
        self._give_back_waiting(now)
        self._reports.repeat(now)
        self._early_stops = {key: since for key, since in self._early_stops.items() if now - since < EARLY_STOP_SECS}
        held = [(attempt.run, attempt.number) for attempt in self._attempts.values()] + self._reports.holding()
        self.bus.announce(
            WorkerHeartbeat(
                subject=self.incarnation,
                worker_id=self.settings.worker_id,
                lanes=self._offer(),
                holding=[Holding(run=run, attempt=number) for run, number in held],
                draining=self._draining,
                host=_HOST,
                pid=os.getpid(),
                release=__version__,
            )
        )

    def _offer(self) -> list[Lane]:
        """Nothing new while the disk is full: what it would be given would fail, and waits for room instead."""
        lanes = [queue.lane for queue in self._lanes.values()]
        return [lane.model_copy(update={"slots": 0}) for lane in lanes] if self.room.short else lanes

    # the end

    async def _drain(self) -> None:
        """Gives back what has not begun, lets the rest end, gives back what takes too long, says goodbye."""
        self._draining = True
        self._say_of_itself(WorkerDraining)
        for lane in self._lanes.values():
            for attempt in list(lane.waiting):
                self._drop_waiting(attempt, "released")
        await self._wait_idle(self.settings.drain)
        for attempt in list(self._attempts.values()):
            attempt.release()
        await _within(self._idle.wait(), self.settings.grace)
        await _within(self._reports.all_settled(), SETTLE_SECS)
        if self._beating is not None:
            self._beating.cancel()
        self._say_of_itself(WorkerStopped)
        if not await self._outbox.drained(SETTLE_SECS):
            self.log.error("the bus did not take all that this worker had to say; its runs will be tried again")

    def _say_of_itself(self, kind: type[WorkerStarted | WorkerDraining | WorkerStopped], **more: Any) -> None:
        facts = {"subject": self.incarnation, "worker_id": self.settings.worker_id, **more}
        self._outbox.put(kind(**facts))

    async def _wait_idle(self, timeout: float) -> None:
        idle = asyncio.create_task(self._idle.wait(), name="worker.idle")
        hurry = asyncio.create_task(self._hurry.wait(), name="worker.hurry")
        await asyncio.wait({idle, hurry}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.gather(idle, hurry, return_exceptions=True)


async def _within(waiting: Coroutine[Any, Any, Any], timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await waiting
    except TimeoutError:
        return False
    return True
