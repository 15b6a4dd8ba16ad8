"""What every event has: a CloudEvents 1.0 envelope, a routing key, a version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from voxloom.ids import new_id
from voxloom.models import utc_now

DEFAULT_PROJECT = "default"

ENVELOPE = ("id", "source", "subject", "time", "project", "attempt", "traceparent", "actor", "task")
"""The fields that travel as CloudEvents attributes (`task` as a part of `type`); all others are the event's data."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""Beyond these no clock is, and a time zone or a day more or less would leave the calendar."""

LARGEST = 2**31 - 1
"""Of what is counted: attempts, epochs, slots. Whoever keeps it somewhere has room for so much."""
LONGEST_NAME = 255
"""Of a worker, a device class, an algorithm."""

LONGEST_WORD = 150
"""Bytes of a subject in a routing key."""

# Each is a word of a routing key and part of a key in the store. Files alone have names of their users' choice.
Subject = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Project = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Visible = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
"""Letters, digits and signs of ASCII."""
Actor = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
"""The id of a principal."""
Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME)]
Epoch = Annotated[int, Field(ge=0, le=LARGEST)]
Said = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]
"""When an event was said. It has a zone: without one nobody could compare it."""


class Kind(NamedTuple):
    """A class of events, and what such an event is about."""

    entity: str
    event: type[Event]

    @property
    def name(self) -> str:
        """`execution.started`: the first two words of the routing key."""
        return f"{self.entity}.{self.event.verb}"

    @property
    def type_name(self) -> str:
        """The CloudEvents `type`: `voxloom.execution.started.v1`."""
        return f"voxloom.{self.entity}.{self.event.verb}.v{self.event.version}"


class Event(BaseModel):
    """Something that has happened (or was asked for), said once and never changed.

    Subclasses state `entities`, `verb` (the past tense, words joined by a dash) and `version`; a breaking change is
    a new class beside the old one. `subject` is the id of what the event is about: a run, a file, a deploy, a
    worker's incarnation, a scheduler's instance.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    entities: ClassVar[tuple[str, ...]]
    """What it can be about: a file, a worker; with some, several kinds of run."""
    verb: ClassVar[str]
    version: ClassVar[int] = 1
    inboxes: ClassVar[tuple[str, ...]] = ()
    """Routing keys of ours, which nobody else binds to, under which some of these come, too."""
    transient: ClassVar[bool] = False
    """True for what goes through `live` only: never kept, never repeated."""

    subject: Subject
    id: Subject = Field(default_factory=new_id)
    source: Visible = "voxloom"
    time: Said = Field(default_factory=utc_now)
    project: Project = DEFAULT_PROJECT
    attempt: int = Field(0, ge=0, le=LARGEST)
    traceparent: Visible | None = None
    actor: Actor | None = None
    """The principal whose request has caused it; None: nobody was asked, or a service says it of itself."""

    @classmethod
    def kinds(cls) -> tuple[Kind, ...]:
        return tuple(Kind(entity, cls) for entity in cls.entities)

    @classmethod
    def told_by(cls, entity: str) -> dict[str, Any]:
        """The fields that follow from what it is about."""
        return {}

    @property
    def entity(self) -> str:
        return self.entities[0]

    @property
    def kind(self) -> Kind:
        return Kind(self.entity, type(self))

    @property
    def type_name(self) -> str:
        """The CloudEvents `type`: `voxloom.execution.started.v1`."""
        return self.kind.type_name

    @property
    def routing_key(self) -> str:
        return self.public_key

    @property
    def public_key(self) -> str:
        """Under which everybody hears of it who wants to."""
        return f"{self.entity}.{self.verb}.{self.project}.{_word(self.subject)}"

    @property
    def plain_key(self) -> str:
        """The routing key as earlier versions have made it, however long."""
        return f"{self.entity}.{self.verb}.{self.project}.{self.subject}"

    @property
    def copy_to(self) -> tuple[str, ...]:
        """Further routing keys of the same publish: the inbox of one worker, say."""
        return ()


class Outline(Event):
    """What the headers of an event say, for those who do not want its data. It is none of that event's class, so
    nobody takes it for the whole."""

    entities = ()
    told: Any
    """Its kind."""

    @property
    def entity(self) -> str:
        return self.kind.entity

    @property
    def kind(self) -> Kind:
        kind: Kind = self.told
        return kind

    @property
    def public_key(self) -> str:
        return f"{self.kind.name}.{self.project}.{_word(self.subject)}"


WantsData = Callable[[Kind, str], bool]
"""Whether somebody wants the data of an event of this kind with this subject."""


def _word(subject: str) -> str:
    """What stands for the subject in a routing key, which has at most 255 bytes."""
    if len(subject) * 4 <= LONGEST_WORD or len(subject.encode()) <= LONGEST_WORD:
        return subject
    return f"sha256-{hashlib.sha256(subject.encode()).hexdigest()}"


SWEEPER_INBOX = "inbox.sweeper"
"""The routing key that reaches whoever removes what ended runs have left behind."""


def is_inbox(key: str) -> bool:
    return key.startswith("inbox.")


def worker_inbox(incarnation: str) -> str:
    """The routing key that reaches one worker's own queue."""
    return f"inbox.worker.{incarnation}"
