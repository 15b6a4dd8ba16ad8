"""The scheduler: it alone moves a run from the queue to a worker and to its end.

Consumes requests, stops, workers' reports, changed limits of projects (queue `scheduler`, single-active) and heartbeats
(live); publishes assignments, passed stops, ends and fences. It decides nothing before the recorder has admitted it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from messages.base import Event
from messages.control import ControlChanged
from messages.gateways import GatewayFoundLoss
from messages.runs import (
    RunFinished,
    RunRequested,
    RunStarted,
    RunStopRequested,
)
from messages.scheduler import SchedulerAdmitted, SchedulerProbed, SchedulerStarted, SchedulerWaiting
from messages.workers import WorkerDraining, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.scheduler.dispatcher import Dispatcher
from services.scheduler.limits import KnownLimits
from services.scheduler.losses import told
from shared.bus import topology
from shared.bus.base import NotYet, Subscription
from shared.bus.outbox import Outbox, unsayable
from shared.outages import waiting
from shared.records.fold import ignored
from shared.records.ledger import Snapshot
from shared.records.store import RecordStore
from shared.service import MadeWay, Platform, Service
from voxloom.errors import NotFound, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.models import utc_now

ADMISSION_SECS = 30.0


class SteppedDown(MadeWay):
    """Another scheduler has been admitted; this one must not decide any more."""


class Scheduler(Service):
    name = "scheduler"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.instance = new_id()
        self.dispatcher: Dispatcher | None = None
        self._records = RecordStore(platform.store)
        self._limits = KnownLimits(platform.store, closed=self.settings.auth == "closed")
        self._term = ""
        self._newest_epoch = 0
        self._admitted: asyncio.Future[SchedulerAdmitted] | None = None
        self._decisions = Outbox(platform.bus, self._instead)
        self._served: Subscription | None = None
        self._probe = 0
        self._echo = 0
        self._echo_time = 0.0
        self._handled_at = 0.0

    async def on_start(self) -> None:
        self.keep(await self.bus.consume(topology.admission_queue(self.instance), self._on_admitted))
        # In one line: once the echo of a probe is heard, all heartbeats before it have been.
        live = ["worker.heartbeat.#", f"scheduler.probed.*.{self.instance}"]
        self.keep(await self.bus.listen(live, self._on_live))
        self._served = self.keep(await self.bus.consume(topology.SCHEDULER, self.handle))
        self.spawn("pulse", self._pulse())
        self.spawn("limits", self._limits.follow(self._on_limits))

    async def stop(self) -> None:
        if self._served is not None and self.dispatcher is None:
            # Who is not admitted yet has decided nothing, and whoever would admit it may be gone by now.
            await self._served.close(drain=0.0)
        await super().stop()

    async def on_stop(self) -> None:
        if self._decisions:
            # Not now: who is no longer served may have a successor already, and that one decides.
            self.log.warning("%d decisions could not be said; the next scheduler will decide", len(self._decisions))

    def figures(self) -> Mapping[str, float]:
        """Of a standby all are 0. Every unfinished run either waits or is leased."""
        jobs = list(self.dispatcher.state.jobs.values()) if self.dispatcher is not None else []
        leased = sum(job.lease is not None for job in jobs)
        return {
            "scheduler_epoch": self.dispatcher.epoch if self.dispatcher is not None else 0,
            "scheduler_runs_waiting": len(jobs) - leased,
            "scheduler_runs_leased": leased,
            "scheduler_decisions_unsaid": len(self._decisions),
        }

    # events

    async def handle(self, events: Sequence[Event]) -> None:
        """Decides on a batch of events, and says so before they are settled."""
        spent = await self._records.spent(events, self._knows)
        dispatcher = self.dispatcher or await self._become_active()
        self._handled_at = now = time.monotonic()
        dispatcher.caught_up = len(events) < topology.SCHEDULER.batch
        for event in events:
            if isinstance(event, ControlChanged):
                self._limits.hear(event)
            elif isinstance(event, RunRequested) and event.subject in spent:
                self.log.warning("the run %s is asked for again, and has ended long ago; ignored", event.subject)
            elif (owner := dispatcher.owner_of(event)) not in (None, event.project):
                self.log.warning("%s", ignored(event, str(owner)))
            elif (react := self._reaction(dispatcher, event)) is not None:
                self._decisions.put(*react(now))
        self._decisions.put(*dispatcher.plan(now))
        self._tell_losses(dispatcher)
        await self._decisions.say()
        if any(isinstance(event, GatewayFoundLoss) for event in events):
            await self._begin_anew()

    def _knows(self, run: str) -> bool:
        return self.dispatcher is not None and self.dispatcher.knows(run)

    async def _begin_anew(self) -> None:
        """Of what the broker has lost only the recorder knows what was said, and what was not."""
        self.log.warning("the broker has lost what it kept; the records say where the runs are")
        self.dispatcher = None
        await self._become_active()

    def _reaction(self, dispatcher: Dispatcher, event: Event) -> Callable[[float], list[Event]] | None:
        match event:
            case RunRequested():
                return lambda now: dispatcher.on_requested(event, now)
            case RunFinished():
                return lambda now: dispatcher.on_finished(event, now)
            case RunStarted():
                return lambda now: dispatcher.on_started(event, now)
            case RunStopRequested():
                return lambda now: dispatcher.on_stop_requested(event, now)
            case WorkerStarted():
                return lambda now: dispatcher.on_worker_started(event, now)
            case WorkerDraining():
                return lambda now: dispatcher.on_worker_draining(event, now)
            case WorkerStopped():
                return lambda now: dispatcher.on_worker_stopped(event, now)
            case _:
                return None

    def _on_live(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, SchedulerProbed):
            self._echo, self._echo_time = event.number, now
        elif isinstance(event, WorkerHeartbeat) and self.dispatcher is not None:
            self._decisions.put(*self.dispatcher.on_heartbeat(event, now))
            self._decisions.put(*self.dispatcher.plan(now))
            if self._decisions:
                self.spawn("after-heartbeat", self._say_later())

    def _instead(self, event: Event, error: VoxloomError) -> list[Event]:
        """Of a run of which something cannot be said, its end can."""
        if self.dispatcher is None:
            return []
        return self.dispatcher.on_refused(event, unsayable(error, "The run cannot be passed on"), time.monotonic())

    def _on_limits(self) -> None:
        """They may be otherwise than before: what waits may begin at once."""
        if self.dispatcher is None:
            return
        now = time.monotonic()
        self.dispatcher.state.obey(self._limits.now, now)
        self._decisions.put(*self.dispatcher.plan(now))
        if self._decisions:
            self.spawn("after-limits", self._say_later())

    # admission

    async def _become_active(self) -> Dispatcher:
        """Being served means being active; being active is not enough to decide. Every time it is asked anew: only the
        snapshot of an answer just given has all that was said before, and is not yet replaced by a newer one."""
        if self.failed.done():
            raise SteppedDown("this scheduler decides no more")
        began = utc_now()
        admitted = await self._ask_for_admission()
        snapshot = await self._load(admitted.snapshot_key)
        await self._limits.read()
        if self._newest_epoch > admitted.epoch:
            raise NotYet("another scheduler was admitted meanwhile; if this one is served, it asks again")
        dispatcher = Dispatcher(self.settings, epoch=admitted.epoch, instance=self.instance, began=began)
        now = time.monotonic()
        dispatcher.state.obey(self._limits.now, now)
        self._decisions.put(*dispatcher.restore(snapshot, now))
        self._echo_time = now
        self.dispatcher = dispatcher
        self.log.info("decides under epoch %d, with %d unfinished runs", admitted.epoch, len(dispatcher.state.jobs))
        return dispatcher

    async def _load(self, snapshot_key: str) -> Snapshot:
        try:
            snapshot = await self._records.load_snapshot(snapshot_key)
        except NotFound as error:
            raise NotYet("a newer snapshot has replaced that of the admission; it asks again") from error
        assert snapshot is not None
        return snapshot

    async def _ask_for_admission(self) -> SchedulerAdmitted:
        self._term = new_id()
        self._admitted = asyncio.get_running_loop().create_future()
        await self.bus.publish(SchedulerStarted(subject=self._term, source=f"scheduler/{self.instance}"))
        try:
            async with asyncio.timeout(ADMISSION_SECS):
                return await self._admitted
        except TimeoutError as error:
            raise Unavailable(
                f"No recorder has admitted this scheduler within {ADMISSION_SECS:g} s, and until one does, runs wait. "
                "See whether a recorder runs."
            ) from error

    async def _on_admitted(self, events: Sequence[Event]) -> None:
        for event in events:
            if not isinstance(event, SchedulerAdmitted):
                continue
            self._newest_epoch = max(self._newest_epoch, event.epoch)
            if event.subject == self._term:
                if self._admitted is not None and not self._admitted.done():
                    self._admitted.set_result(event)
            elif self.dispatcher is not None and event.epoch > self.dispatcher.epoch:
                self._step_down(event)

    def _step_down(self, event: SchedulerAdmitted) -> None:
        self.dispatcher = None
        self._decisions.drop()
        self.fail(SteppedDown(f"another scheduler was admitted under epoch {event.epoch}"))

    # time

    async def _pulse(self) -> None:
        """Asks to be served while waiting; once active, hears itself and judges the silent."""
        while not self.failed.done():
            if self.dispatcher is None:
                await self._ask_to_be_served()
            else:
                await self._judge(self.dispatcher)
            await asyncio.sleep(self.settings.heartbeat / 2)

    async def _ask_to_be_served(self) -> None:
        try:
            await self.bus.publish(SchedulerWaiting(subject=self.instance))
        except Unavailable as error:
            self.log.warning("cannot ask to be served: %s", error, extra=waiting(error))

    async def _judge(self, dispatcher: Dispatcher) -> None:
        now = time.monotonic()
        heard = self._echo == self._probe
        gap = now - self._echo_time
        self._probe += 1
        self.bus.announce(SchedulerProbed(subject=self.instance, number=self._probe))
        if gap > self.settings.lease / 2 or self._decisions.stuck(self.settings.heartbeat):
            # Nobody could be heard for a while, or could hear us: that says nothing about the workers.
            dispatcher.grant_full_terms(now)
        elif heard:
            dispatcher.caught_up |= now - self._handled_at > self.settings.lease
            self._decisions.put(*dispatcher.judge(now))
            self._decisions.put(*dispatcher.plan(now))
            self._tell_losses(dispatcher)
        await self._say_later()

    def _tell_losses(self, dispatcher: Dispatcher) -> None:
        while dispatcher.losses:
            self.log.warning("%s", told(dispatcher.losses.pop(0)))

    async def _say_later(self) -> None:
        """Outside of `handle` one has to look whether one is still served, and so in charge."""
        if self._served is None or not self._served.alive:
            return
        try:
            await self._decisions.say()
        except Unavailable as error:
            self.log.warning("%d decisions wait for the bus: %s", len(self._decisions), error, extra=waiting(error))
