"""A scheduler's mind that is told things one after the other, and what they look like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from messages.base import Event
from messages.runs import AlgorithmPin, RunAssigned, RunFinished, RunHandedOver, RunRequested, RunStarted, Work
from messages.workers import Holding, Lane, WorkerHeartbeat, WorkerStarted
from services.scheduler.dispatcher import Dispatcher
from tests.given import Given

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PIN = AlgorithmPin(algorithm_id="a", name="noop", major="1", minor="0", module="m", assets="s")


def work(devices: tuple[str, ...] = ("cpu",), priority: int = 0, session: str = "") -> Work:
    return Work(
        algorithm=PIN, input_dataset_ids=[], parameters={}, args={}, devices=list(devices), session_token=session,
        priority=priority,
    )  # fmt: skip


def requested(run: str, project: str = "default", **kwargs: Any) -> RunRequested:
    return RunRequested(subject=run, project=project, work=work(**kwargs))


def lane(slots: int = 1, device_class: str = "cpu") -> Lane:
    return Lane(device_class=device_class, device=device_class.replace("gpu", "cuda"), slots=slots)


def worker_started(incarnation: str = "i1", worker_id: str = "w1", *lanes: Lane) -> WorkerStarted:
    return WorkerStarted(subject=incarnation, worker_id=worker_id, lanes=list(lanes) or [lane()])


def heartbeat(incarnation: str, *holding: tuple[str, int], worker_id: str = "w1") -> WorkerHeartbeat:
    return WorkerHeartbeat(
        subject=incarnation, worker_id=worker_id, lanes=[lane()],
        holding=[Holding(run=run, attempt=attempt) for run, attempt in holding],
    )  # fmt: skip


def finished(run: str, outcome: str, attempt: int = 1, incarnation: str = "i1", **result: Any) -> RunFinished:
    return RunFinished.model_validate(
        {"subject": run, "attempt": attempt, "incarnation": incarnation, "outcome": outcome, "result": result}
    )


def started(run: str, attempt: int = 1, incarnation: str = "i1") -> RunStarted:
    return RunStarted(
        subject=run, attempt=attempt, epoch=1, worker_id="w1", incarnation=incarnation, device_class="cpu", device="cpu"
    )


class Story:
    """A dispatcher that is told things one after the other, at times."""

    def __init__(self, began: datetime = LONG_AGO, **settings: Any) -> None:
        self.settings = Given(**settings)
        self.mind = Dispatcher(self.settings, epoch=1, instance="s", began=began)
        self.now = 0.0
        self.said: list[Event] = []

    def hear(self, *events: Event) -> list[Event]:
        """The decisions that these events cause."""
        decisions: list[Event] = []
        for event in events:
            name = {"heartbeat": "on_heartbeat"}.get(event.verb) or {
                "requested": "on_requested", "stop-requested": "on_stop_requested", "started": "on_started",
                "finished": "on_finished", "draining": "on_worker_draining", "stopped": "on_worker_stopped",
            }[event.verb]  # fmt: skip
            if isinstance(event, WorkerStarted):
                name = "on_worker_started"
            decisions += getattr(self.mind, name)(event, self.now)
        decisions += self.mind.plan(self.now)
        return self._noted(decisions)

    def wait(self, seconds: float) -> list[Event]:
        self.now += seconds
        return self._noted(self.mind.judge(self.now) + self.mind.plan(self.now))

    def _noted(self, decisions: list[Event]) -> list[Event]:
        """Those that all hear of. What was assigned is handed over to its worker in the same breath."""
        to_all = [event for event in decisions if not isinstance(event, RunHandedOver)]
        handed = [_assignment(event) for event in decisions if isinstance(event, RunHandedOver)]
        assert handed == [_assignment(event) for event in to_all if isinstance(event, RunAssigned)]
        self.said += to_all
        return to_all


def _assignment(event: RunAssigned | RunHandedOver) -> tuple[str, int, str, str]:
    return event.subject, event.attempt, event.incarnation, event.device_class


def kinds(events: list[Event]) -> list[tuple[str, str]]:
    """Of what all hear."""
    return [(event.verb, event.subject) for event in events if not isinstance(event, RunHandedOver)]
