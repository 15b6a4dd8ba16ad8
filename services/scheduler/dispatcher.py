"""Events in, decisions out: what the scheduler says to each thing it hears. No I/O, and time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from messages.base import Event
from messages.runs import (
    Result,
    RunAssigned,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunFinished,
    RunHandedOver,
    RunRequested,
    RunRequeued,
    RunStarted,
    RunStopPassed,
    RunStopped,
    RunStopRequested,
)
from messages.workers import WorkerDraining, WorkerFenced, WorkerHeartbeat, WorkerStarted, WorkerStopped
from services.scheduler.losses import Loss, worker_lost
from services.scheduler.policy import after_loss, after_report, next_choice
from services.scheduler.state import Gone, Job, Lease, State, Worker
from services.scheduler.unserved import Unserved
from shared.records.fold import RunState
from shared.records.ledger import Snapshot
from shared.settings import Settings
from voxloom.models import RunError

SETTLED_SECS = 600.0
MISSED_HEARTBEATS = 5
"""So many heartbeats in a row that do not list a claimed run mean that the worker has lost it."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_ENDS = {"completed": RunCompleted, "failed": RunFailed, "stopped": RunStopped}


class Dispatcher:
    """One scheduler's mind. Every method returns the decisions to publish, in order.

    `began`: what was said before then may be said by those who are no more.
    """

    def __init__(self, settings: Settings, *, epoch: int, instance: str, began: datetime = _LONG_AGO) -> None:
        self.state = State(settings.alone_after_lost)
        self.epoch = epoch
        self.caught_up = True
        """Whether all that was said up to now has been heard, as far as one can tell."""
        self.losses: list[Loss] = []
        """Workers that were lost, until somebody takes them out to tell of them."""
        self._settings = settings
        self._source = f"scheduler/{instance}"
        self._began = began
        self._unserved = Unserved(self.state, settings.no_device_timeout)

    # what was said before

    def restore(self, snapshot: Snapshot, now: float) -> list[Event]:
        """Takes over: every run is where the records have it, every lease gets a full term."""
        decisions: list[Event] = []
        for run in snapshot.settled:
            self.state.settled[run] = now
        for run_state in sorted(snapshot.runs, key=lambda known: (known.submitted is None, known.submitted, known.run)):
            decisions += self._restore_run(run_state, now)
        return decisions

    def _restore_run(self, known: RunState, now: float) -> list[Event]:
        if known.ended:
            self.state.settled[known.run] = now
            return []
        if known.work is None or known.submitted is None:
            return []
        job = Job(
            run=known.run,
            project=known.project,
            work=known.work,
            submitted=known.submitted,
            order=0,
            attempt=known.attempt,
            lost=known.stage.lost if known.stage else 0,
            stop_requested=known.stop_requested is not None,
            lease=self._restore_lease(known, now),
        )
        self.state.add(job, now)
        return self._pass_stop(job, now) if job.stop_requested else []

    def _restore_lease(self, known: RunState, now: float) -> Lease | None:
        stage = known.stage
        if stage is None or stage.incarnation is None:
            return None
        worker_id = stage.worker_id or ""
        if stage.incarnation not in self.state.workers:
            self.state.workers[stage.incarnation] = Worker(stage.incarnation, worker_id, now)
        began = known.began is not None and known.began.attempt == known.attempt
        return Lease(stage.incarnation, worker_id, stage.device_class or "cpu", now, began=began)

    def owner_of(self, event: Event) -> str | None:
        """The project of the run that the event is about; None where it is about none that is known."""
        job = self.state.jobs.get(event.subject) if isinstance(event, RunEvent) else None
        return None if job is None else job.project

    def knows(self, run: str) -> bool:
        return run in self.state.jobs or run in self.state.settled

    # what clients ask

    def on_requested(self, event: RunRequested, now: float) -> list[Event]:
        run = event.subject
        if self.knows(run):
            return []
        self.state.add(Job(run, event.project, event.work, event.time, order=0), now)
        return []

    def on_stop_requested(self, event: RunStopRequested, now: float) -> list[Event]:
        job = self.state.jobs.get(event.subject)
        if job is None or job.stop_requested:
            return []
        job.stop_requested = True
        return self._pass_stop(job, now)

    def _pass_stop(self, job: Job, now: float) -> list[Event]:
        """A waiting run is stopped at once; a leased one by its worker."""
        if job.lease is None:
            return [self._end(job, "stopped", Result(), now)]
        return [
            RunStopPassed(
                task=job.work.task,
                subject=job.run,
                project=job.project,
                attempt=job.attempt,
                source=self._source,
                epoch=self.epoch,
                incarnation=job.lease.incarnation,
            )
        ]

    # what workers say

    def on_started(self, event: RunStarted, now: float) -> list[Event]:
        job = self.state.jobs.get(event.subject)
        if job is not None and _is_current(job, event.attempt, event.incarnation):
            assert job.lease is not None
            job.lease.claimed = job.lease.began = True
        return []

    def on_finished(self, event: RunFinished, now: float) -> list[Event]:
        job = self.state.jobs.get(event.subject)
        if job is None or not _is_current(job, event.attempt, event.incarnation):
            return []
        self._observe(job, event)
        outcome = after_report(event.outcome, job.stop_requested)
        if outcome == "again":
            return [self._requeue(job, "the worker gave it back", now)]
        return [self._end(job, outcome, event.result, now)]

    def _observe(self, job: Job, event: RunFinished) -> None:
        worker = self.state.workers.get(event.incarnation)
        lane = worker.lanes.get(job.lease.device_class) if worker is not None and job.lease is not None else None
        if lane is None:
            return
        if event.result.run_seconds is not None:
            lane.observe(event.result.run_seconds)
        elif event.outcome == "released":
            lane.observe_wait()

    def on_worker_started(self, event: WorkerStarted, now: float) -> list[Event]:
        """A new life of a worker ends the earlier ones: what they held is lost, and known to be at once."""
        others = [
            worker
            for worker in self.state.workers.values()
            if worker.worker_id == event.worker_id and worker.incarnation != event.subject
        ]
        if event.subject in self.state.gone or any(_is_later(other, event) for other in others):
            return []
        decisions = [decision for worker in others for decision in self._lose(worker, "replaced", now)]
        worker = self._worker(event.subject, event.worker_id, now)
        if event.time >= self._began:
            self.state.set_lanes(worker, event.lanes)  # else it first has to show that it still lives
        return decisions

    def on_worker_draining(self, event: WorkerDraining, now: float) -> list[Event]:
        worker = self.state.workers.get(event.subject)
        if worker is not None:
            self.state.drain(worker)
        return []

    def on_worker_stopped(self, event: WorkerStopped, now: float) -> list[Event]:
        """It has reported all that it had; what it did not, it gave back."""
        worker = self._worker(event.subject, event.worker_id, now)
        jobs = self.state.remove(worker, Gone("stopped", now, told=now))
        return [decision for job in jobs for decision in self._give_back(job, now)]

    def on_heartbeat(self, event: WorkerHeartbeat, now: float) -> list[Event]:
        gone = self.state.gone.get(event.subject)
        if gone is not None:
            return self._tell_gone(event, gone, now)
        worker = self._worker(event.subject, event.worker_id, now)
        worker.last_seen = now
        worker.beating_since = worker.beating_since or event.time
        if event.draining:
            self.state.drain(worker)
        self.state.set_lanes(worker, event.lanes)
        held = {(holding.run, holding.attempt) for holding in event.holding}
        decisions: list[Event] = []
        for run in list(worker.runs):
            job = self.state.jobs[run]
            if self._check_held(job, held):
                decisions += self._lose_attempt(job, now)
        return decisions

    def _tell_gone(self, event: WorkerHeartbeat, gone: Gone, now: float) -> list[Event]:
        """One that was fenced and speaks may not have heard of it."""
        if gone.reason == "stopped" or now - gone.told < self._settings.lease:
            return []
        gone.told = now
        return [self._fenced(event.subject, event.worker_id, gone.reason)]

    def _fenced(self, incarnation: str, worker_id: str, reason: Literal["silent", "replaced"]) -> Event:
        return WorkerFenced(
            subject=incarnation, source=self._source, epoch=self.epoch, worker_id=worker_id, reason=reason
        )

    def _check_held(self, job: Job, held: set[tuple[str, int]]) -> bool:
        """Notes whether a worker lists a run that it was given; True if it has lost it."""
        lease = job.lease
        assert lease is not None
        if (job.run, job.attempt) in held:
            lease.claimed, lease.missed = True, 0
        elif lease.claimed and self.caught_up:  # else its report may be among what is still to be heard
            lease.missed += 1
        return lease.missed >= MISSED_HEARTBEATS

    def _worker(self, incarnation: str, worker_id: str, now: float) -> Worker:
        worker = self.state.workers.get(incarnation)
        if worker is None:
            worker = self.state.workers[incarnation] = Worker(incarnation, worker_id, now)
        return worker

    # what time says

    def judge(self, now: float) -> list[Event]:
        """Fences silent workers, takes back what nobody claimed, fails what nobody can run. To be called only while
        heartbeats are known to come through."""
        decisions: list[Event] = []
        for worker in list(self.state.workers.values()):
            if worker.last_seen + self._settings.lease < now:
                decisions += self._lose(worker, "silent", now)
        for job in self._unclaimed(now):
            decisions += self._lose_attempt(job, now)
        decisions += [self._end(job, "failed", _no_device(job), now) for job in self._unserved.take(now)]
        self.state.forget(now - SETTLED_SECS)
        return decisions

    def grant_full_terms(self, now: float) -> None:
        """After a gap in which nobody could be heard."""
        for worker in self.state.workers.values():
            worker.last_seen = now
            for run in worker.runs:
                lease = self.state.jobs[run].lease
                assert lease is not None
                lease.since, lease.missed = now, 0

    def _unclaimed(self, now: float) -> list[Job]:
        limit = now - self._settings.claim_timeout
        return [
            job
            for worker in self.state.workers.values()
            for job in (self.state.jobs[run] for run in worker.runs)
            if job.lease and not job.lease.claimed and job.lease.since < limit
        ]

    # decisions

    def plan(self, now: float) -> list[Event]:
        """Assigns as long as something fits."""
        decisions: list[Event] = []
        while (choice := next_choice(self.state, now)) is not None:
            job, worker = choice.job, choice.worker
            self.state.lease(job, worker, choice.device_class, now)
            decisions += self._assign(job, worker, choice.device_class)
        return decisions

    def _assign(self, job: Job, worker: Worker, device_class: str) -> list[Event]:
        """To all first: once that is out, the attempt's number is used up, whether the worker hears of it or not."""
        facts: dict[str, Any] = {
            "task": job.work.task,
            "subject": job.run,
            "project": job.project,
            "attempt": job.attempt,
            "source": self._source,
            "epoch": self.epoch,
            "worker_id": worker.worker_id,
            "incarnation": worker.incarnation,
            "device_class": device_class,
            "lost": job.lost,
        }
        return [RunAssigned(**facts), RunHandedOver(**facts, work=job.work)]

    def on_refused(self, event: Event, error: RunError, now: float) -> list[Event]:
        """What to say in place of a decision that no bus takes: that the run has failed, where that ends it."""
        result = Result(error=error, log=error.message + "\n")
        match event:
            case RunAssigned() | RunHandedOver():
                job = self.state.jobs.get(event.subject)
                if job is None or not _is_current(job, event.attempt, event.incarnation):
                    return []
                return [self._end(job, "failed", result, now)]
            case RunCompleted() | RunFailed() | RunStopped():
                facts = event.model_dump(exclude={"id", "result"})
                kind = RunStopped if isinstance(event, RunStopped) else RunFailed
                return [kind(**facts, result=result)]
            case _:
                return []

    def _lose(self, worker: Worker, reason: Literal["silent", "replaced"], now: float) -> list[Event]:
        """Fences a worker: it is told, and what it had is decided without it."""
        jobs = self.state.remove(worker, Gone(reason, now, told=now))
        ends = [end for job in jobs for end in self._lose_attempt(job, now)]
        self.losses.append(Loss(worker.worker_id, worker.incarnation, reason, now - worker.last_seen, ends))
        return [self._fenced(worker.incarnation, worker.worker_id, reason), *ends]

    def _lose_attempt(self, job: Job, now: float) -> list[Event]:
        job.lost += job.lease is not None and job.lease.began
        worker_id = job.lease.worker_id if job.lease else "?"
        verdict = after_loss(job, self._settings.max_lost)
        if verdict == "again":
            next_one = "; it is tried alone next" if self.state.is_suspect(job) else ""
            return [self._requeue(job, f"worker {worker_id} went away{next_one}", now)]
        error = worker_lost(worker_id, job.lost) if verdict == "failed" else None
        return [self._end(job, verdict, Result(error=error, log=f"{error.message}\n" if error else ""), now)]

    def _give_back(self, job: Job, now: float) -> list[Event]:
        if job.stop_requested:
            return [self._end(job, "stopped", Result(), now)]
        return [self._requeue(job, "the worker has stopped", now)]

    def _requeue(self, job: Job, reason: str, now: float) -> Event:
        lease = job.lease
        assert lease is not None
        self.state.release(job, now)
        self.state.enqueue(job, now)
        return RunRequeued(
            task=job.work.task,
            subject=job.run,
            project=job.project,
            attempt=job.attempt,
            source=self._source,
            epoch=self.epoch,
            incarnation=lease.incarnation,
            lost=job.lost,
            reason=reason,
        )

    def _end(self, job: Job, outcome: str, result: Result, now: float) -> Event:
        lease = job.lease
        self.state.settle(job, now, result.run_seconds)
        return _ENDS[outcome](
            task=job.work.task,
            subject=job.run,
            project=job.project,
            attempt=job.attempt,
            source=self._source,
            epoch=self.epoch,
            incarnation=lease.incarnation if lease else None,
            worker_id=lease.worker_id if lease else None,
            submitted=job.submitted,
            result=result,
        )


def count_unfinished(dispatcher: Dispatcher) -> tuple[int, int]:
    """How many runs wait, and how many are leased: together all that have not ended."""
    jobs: Iterable[Job] = dispatcher.state.jobs.values()
    leased = sum(job.lease is not None for job in jobs)
    return len(dispatcher.state.jobs) - leased, leased


def _is_current(job: Job, attempt: int, incarnation: str) -> bool:
    return job.lease is not None and job.attempt == attempt and job.lease.incarnation == incarnation


def _is_later(worker: Worker, event: WorkerStarted) -> bool:
    """Whether a worker that is heard has come after the one that the event speaks of: it is late, or comes again."""
    return worker.beating_since is not None and worker.beating_since > event.time


def _no_device(job: Job) -> Result:
    error = RunError(
        type="NoDevice",
        message=f"No worker offers {' or '.join(job.devices)}. Start one that does, or ask for another device.",
        code="no_device",
        retryable=True,
    )
    return Result(error=error, log=error.message + "\n")
