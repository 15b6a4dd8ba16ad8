"""The scheduler: it alone moves a run from the queue to a worker and to its end.

Consumes requests, stops, workers' reports (queue `scheduler`, single-active) and heartbeats (live); publishes
assignments, passed stops and ends. It decides nothing before the recorder has admitted it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from messages.base import Event
from messages.executions import (
    ExecutionFinished,
    ExecutionRequested,
    ExecutionStarted,
    ExecutionStopRequested,
)
from messages.scheduler import SchedulerAdmitted, SchedulerProbed, SchedulerStarted, SchedulerWaiting
from messages.workers import WorkerDraining, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.scheduler.dispatcher import Dispatcher
from shared.bus import topology
from shared.records.store import RecordStore
from shared.service import Platform, Service
from voxloom.errors import Unavailable
from voxloom.ids import new_id

ADMISSION_SECS = 30.0
_PUBLISH_AT_ONCE = 500


class SteppedDown(Exception):
    """Another scheduler has been admitted; this one must not decide any more."""


class Scheduler(Service):
    name = "scheduler"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.instance = new_id()
        self.dispatcher: Dispatcher | None = None
        self._records = RecordStore(platform.store)
        self._admitted: asyncio.Future[SchedulerAdmitted] = asyncio.get_running_loop().create_future()
        self._outbox: list[Event] = []
        self._flushing = asyncio.Lock()
        self._probe = 0
        self._echo = 0
        self._echo_time = 0.0

    async def on_start(self) -> None:
        self.keep(await self.bus.consume(topology.admission_queue(self.instance), self._on_admitted))
        self.keep(await self.bus.listen(["worker.heartbeat.#"], self._on_heartbeat))
        self.keep(await self.bus.listen([f"scheduler.probed.*.{self.instance}"], self._on_probe))
        self.keep(await self.bus.consume(topology.SCHEDULER, self.handle))
        self.spawn("pulse", self._pulse())

    async def on_stop(self) -> None:
        try:
            await self._flush()
        except Unavailable as error:
            self.log.warning(
                "%d decisions could not be said; the next scheduler will decide: %s", len(self._outbox), error
            )

    # events

    async def handle(self, events: Sequence[Event]) -> None:
        """Decides on a batch of events, and says so before they are settled."""
        dispatcher = self.dispatcher or await self._become_active()
        now = time.monotonic()
        for event in events:
            if (react := self._reaction(dispatcher, event)) is not None:
                self._outbox += react(now)
        self._outbox += dispatcher.plan(now)
        await self._flush()

    def _reaction(self, dispatcher: Dispatcher, event: Event) -> Callable[[float], list[Event]] | None:
        match event:
            case ExecutionRequested():
                return lambda now: dispatcher.on_requested(event, now)
            case ExecutionFinished():
                return lambda now: dispatcher.on_finished(event, now)
            case ExecutionStarted():
                return lambda now: dispatcher.on_started(event, now)
            case ExecutionStopRequested():
                return lambda now: dispatcher.on_stop_requested(event, now)
            case WorkerStarted():
                return lambda now: dispatcher.on_worker_started(event, now)
            case WorkerDraining():
                return lambda now: dispatcher.on_worker_draining(event, now)
            case WorkerStopped():
                return lambda now: dispatcher.on_worker_stopped(event, now)
            case _:
                return None

    def _on_heartbeat(self, event: Event) -> None:
        if self.dispatcher is not None and isinstance(event, WorkerHeartbeat):
            now = time.monotonic()
            self._outbox += self.dispatcher.on_heartbeat(event, now)
            self._outbox += self.dispatcher.plan(now)
            if self._outbox:
                self.spawn("after-heartbeat", self._flush_later())

    # admission

    async def _become_active(self) -> Dispatcher:
        """Being served means being active; being active is not enough to decide."""
        await self.bus.publish(SchedulerStarted(subject=self.instance, source=f"scheduler/{self.instance}"))
        admitted = await asyncio.wait_for(asyncio.shield(self._admitted), ADMISSION_SECS)
        snapshot = await self._records.load_snapshot(admitted.snapshot_key)
        assert snapshot is not None
        dispatcher = Dispatcher(self.settings, epoch=admitted.epoch, instance=self.instance)
        now = time.monotonic()
        self._outbox += dispatcher.restore(snapshot, now)
        self._echo_time = now
        self.dispatcher = dispatcher
        self.log.info("decides under epoch %d, with %d unfinished runs", admitted.epoch, len(dispatcher.state.jobs))
        return dispatcher

    async def _on_admitted(self, events: Sequence[Event]) -> None:
        for event in events:
            if not isinstance(event, SchedulerAdmitted):
                continue
            if event.subject == self.instance:
                if not self._admitted.done():
                    self._admitted.set_result(event)
            elif self.dispatcher is not None and event.epoch > self.dispatcher.epoch:
                self._step_down(event)

    def _step_down(self, event: SchedulerAdmitted) -> None:
        self.dispatcher = None
        self._outbox.clear()
        if not self.failed.done():
            self.failed.set_exception(SteppedDown(f"scheduler {event.subject} was admitted under epoch {event.epoch}"))

    # time

    async def _pulse(self) -> None:
        """Asks to be served while waiting; once active, hears itself and judges the silent."""
        while True:
            if self.dispatcher is None:
                await self._ask_to_be_served()
            else:
                await self._judge(self.dispatcher)
            await asyncio.sleep(self.settings.heartbeat / 2)

    async def _ask_to_be_served(self) -> None:
        try:
            await self.bus.publish(SchedulerWaiting(subject=self.instance))
        except Unavailable as error:
            self.log.warning("cannot ask to be served: %s", error)

    async def _judge(self, dispatcher: Dispatcher) -> None:
        now = time.monotonic()
        heard = self._echo == self._probe
        gap = now - self._echo_time
        self._probe += 1
        self.bus.announce(SchedulerProbed(subject=self.instance, number=self._probe))
        if gap > self.settings.lease / 2:
            # Nobody could be heard for a while, ourselves included: that says nothing about the workers.
            dispatcher.grant_full_terms(now)
            return
        if heard:
            self._outbox += dispatcher.judge(now)
            self._outbox += dispatcher.plan(now)
            await self._flush_later()

    def _on_probe(self, event: Event) -> None:
        if isinstance(event, SchedulerProbed):
            self._echo = event.number
            self._echo_time = time.monotonic()

    # saying it

    async def _flush(self) -> None:
        """Publishes the decisions in the order they were made; what fails stays for the next time."""
        async with self._flushing:
            while self._outbox:
                batch = self._outbox[:_PUBLISH_AT_ONCE]
                await self.bus.publish(*batch)
                del self._outbox[: len(batch)]

    async def _flush_later(self) -> None:
        try:
            await self._flush()
        except Unavailable as error:
            self.log.warning("%d decisions wait for the bus: %s", len(self._outbox), error)
