"""What those outside hear and say: a place of its own beside the bus, where nothing of the services can be reached.

The bus is for services, who trust one another. Others get `events`, where what is public is said once more, and
`requests`, where they ask. What they send may be anything: here it is only carried, and nothing of it is believed but
the name of the broker's user, which the broker has compared with who has sent it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from messages.base import Event
from messages.checkpoints import CheckpointDeleted
from messages.deploys import AlgorithmDeleted, DeployCompleted, DeployFailed, DeployStarted
from messages.files import FileCommitted, FileDeleted, FileRejected
from messages.outside import ExecutionRejected
from messages.records import RecordsDeleted, RecordsKept
from messages.runs import (
    RunAssigned,
    RunAssignedV1,
    RunCompleted,
    RunFailed,
    RunHandedOver,
    RunRequested,
    RunRequestedV1,
    RunRequeued,
    RunStarted,
    RunStopped,
    RunStopRequested,
)
from messages.samples import SampleCreated, SampleDeleted
from messages.trainings import TrainingCheckpointDropped, TrainingCheckpointSaved
from messages.wire import Message, encode
from shared.bus.base import KEEP, Queue

EVENTS = "events"
"""The exchange on which those outside hear."""
REQUESTS = "requests"
"""The exchange on which they ask."""
INBOX = "asked"
"""The queue with what they have asked. It has another name than the exchange: whoever may write to `requests` must not
be able to bind this queue to `events`, or what is said would be asked."""
MOST_REQUESTS = 10_000
MOST_REQUEST_BYTES = 256 << 20
"""So many wait there at most; then the broker takes no more, and whoever asks is told so."""
MOST_EVENTS = 1_000_000
"""So many wait for those outside at most, while they cannot be told; then the oldest go."""
UNUSED_SECS = 24 * 3600.0
TOLD = "voxloom-told"
"""A header of what is said outside: who may write to `requests` and read `events` can bind one to the other."""

PUBLIC: frozenset[type[Event]] = frozenset(
    {
        RunRequested,
        RunRequestedV1,
        RunStopRequested,
        RunAssigned,
        RunAssignedV1,
        RunStarted,
        RunRequeued,
        RunCompleted,
        RunFailed,
        RunStopped,
        TrainingCheckpointSaved,
        TrainingCheckpointDropped,
        FileCommitted,
        FileRejected,
        FileDeleted,
        DeployStarted,
        DeployCompleted,
        DeployFailed,
        AlgorithmDeleted,
        SampleCreated,
        SampleDeleted,
        CheckpointDeleted,
        RecordsDeleted,
        RecordsKept,
        ExecutionRejected,
    }
)
"""What those outside may hear of: what has become of a project's things. Not what services say to one another."""

BRIDGE = Queue(
    name="outside",
    bindings=tuple(sorted({f"{kind.name}.#" for event in PUBLIC - {ExecutionRejected} for kind in event.kinds()})),
    policy=KEEP,
    batch=200,
    single_active=True,
    expires=UNUSED_SECS,
    longest=MOST_EVENTS,
)
"""What is to be said outside. Only gateways that are told to declare it; where none does any more, it goes."""


def outward(event: Event) -> Message | None:
    """As those outside hear it: under its public key alone, and without the token that a session is known by. None:
    they do not."""
    if type(event) not in PUBLIC:
        return None
    if isinstance(event, RunRequested | RunHandedOver):
        event = event.model_copy(update={"work": event.work.model_copy(update={"session_token": ""})})
    message = encode(event)
    return Message((event.public_key,), {**message.headers, TOLD: 1}, message.body)


class Asking(NamedTuple):
    """A message on `requests`, as it came. Only `user` is known to be true."""

    user: str | None
    """The broker's user who has sent it; None where they have not said so."""
    key: str
    """Under which it was sent."""
    message_id: str
    """Empty where it has none."""
    headers: Mapping[str, Any]
    content_type: str | None
    content_encoding: str | None
    body: bytes
    redelivered: bool = False
    """Whether it may have been handled before, by somebody who has not said so."""
    deliveries: int = 0
    """How often it was handed out before, as far as the broker counts that."""


Answering = Callable[[Asking], Awaitable[None]]
"""Takes one message. Returning settles it. Unavailable: it stays, and comes again; nothing else may be raised."""


class Outside(ABC):
    """All methods raise BusUnavailable while the broker cannot be reached."""

    @abstractmethod
    async def open(self) -> None:
        """Makes what is missing there. Raises Misconfigured where waiting cannot help."""

    @abstractmethod
    async def close(self, *, drain: float = 10.0) -> None:
        """What is being answered may take so many seconds; then it is left, and comes again."""

    @abstractmethod
    async def say(self, messages: Sequence[Message]) -> None:
        """Returns when all have come to whoever listens now and has room for them."""

    @abstractmethod
    async def serve(self, answering: Answering) -> None:
        """From now on, hands out what is asked."""

    @property
    @abstractmethod
    def is_there(self) -> bool:
        """Whether the broker is connected, and what is asked there arrives."""
