"""What every event has: a CloudEvents 1.0 envelope, a routing key, a version."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from voxloom.ids import new_id
from voxloom.models import utc_now

DEFAULT_PROJECT = "default"

ENVELOPE = ("id", "source", "subject", "time", "project", "attempt", "traceparent")
"""The fields that travel as CloudEvents attributes; all others are the event's data."""


class Event(BaseModel):
    """Something that has happened (or was asked for), said once and never changed.

    Subclasses state `entity`, `verb` (the past tense, words joined by a dash) and `version`; a breaking change is
    a new class beside the old one. `subject` is the id of what the event is about: a run, a file, a deploy, a
    worker's incarnation, a scheduler's instance.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    entity: ClassVar[str]
    verb: ClassVar[str]
    version: ClassVar[int] = 1
    transient: ClassVar[bool] = False
    """True for what goes through `live` only: never kept, never repeated."""

    subject: str
    id: str = Field(default_factory=new_id)
    source: str = "voxloom"
    time: datetime = Field(default_factory=utc_now)
    project: str = DEFAULT_PROJECT
    attempt: int = 0
    traceparent: str | None = None

    @classmethod
    def kind(cls) -> str:
        """`execution.started`: the first two words of the routing key."""
        return f"{cls.entity}.{cls.verb}"

    @classmethod
    def type_name(cls) -> str:
        """The CloudEvents `type`: `voxloom.execution.started.v1`."""
        return f"voxloom.{cls.entity}.{cls.verb}.v{cls.version}"

    @property
    def routing_key(self) -> str:
        return f"{self.entity}.{self.verb}.{self.project}.{self.subject}"

    @property
    def copy_to(self) -> tuple[str, ...]:
        """Further routing keys of the same publish: the inbox of one worker, say."""
        return ()


def worker_inbox(incarnation: str) -> str:
    """The routing key that reaches one worker's own queue."""
    return f"inbox.worker.{incarnation}"
