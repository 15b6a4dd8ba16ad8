"""Events of workers. The subject is an incarnation: one life of one worker process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from messages.base import LARGEST, Epoch, Event, Name, worker_inbox
from voxloom.models import Value


class Lane(Value):
    """So many runs at once on one device class; `device` is what it resolves to (`cpu`, `cuda`, `mps`)."""

    device_class: Name
    device: Name
    slots: int = Field(ge=0, le=LARGEST)
    cards: list[str] = []
    """The models of the cards behind it, where there are such."""


class Holding(Value):
    """A run that a worker has."""

    run: str
    attempt: int


class WorkerStarted(Event):
    """A worker is there. Earlier incarnations of the same `worker_id` are over."""

    entities = ("worker",)
    verb = "started"
    worker_id: Name
    lanes: list[Lane]


class WorkerHeartbeat(Event):
    """I live, and this is what I have: what it lists is under lease, and what it misses is not."""

    entities = ("worker",)
    verb = "heartbeat"
    transient = True
    worker_id: Name
    lanes: list[Lane]
    holding: list[Holding]
    draining: bool = False
    host: str = ""
    pid: int = 0
    release: str = ""
    """Of the program."""


class WorkerDraining(Event):
    """Gives back what has not begun and takes nothing new."""

    entities = ("worker",)
    verb = "draining"
    worker_id: Name


class WorkerStopped(Event):
    """Gone in good order; it holds nothing any more."""

    entities = ("worker",)
    verb = "stopped"
    worker_id: Name


class WorkerFenced(Event):
    """A decision: this incarnation holds nothing any more, and what it still says is ignored. Where it lives, it kills
    what it has; one that was only `silent` begins anew, one that was `replaced` leaves its `worker_id` to the other."""

    entities = ("worker",)
    verb = "fenced"
    epoch: Epoch
    worker_id: Name
    reason: Literal["silent", "replaced"]

    @property
    def copy_to(self) -> tuple[str, ...]:
        return (worker_inbox(self.subject),)
