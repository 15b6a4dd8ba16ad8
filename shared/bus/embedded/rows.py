"""What goes into the journal's tables, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from messages.base import Event
from messages.wire import Message

Wanted = Callable[[int, Sequence[str], str | None], bool]
"""Whether a reader wants the message with this offset, these routing keys, meant for this one queue (None: all)."""

History = tuple[tuple[int, tuple[str, ...]], ...]
"""The patterns of a queue, each set with the offset after which it holds. Sorted."""


@dataclass(slots=True, eq=False)
class Entry:
    """A message of the journal. `seq` is known once it is written; `event` where nobody has to decode it.

    `queue` is the one queue that gets it (a replayed dead letter, which is no part of the stream), or None.
    """

    message: Message
    event: Event | None = None
    queue: str | None = None
    seq: int = 0

    def head(self) -> bytes:
        """All but the body. Raises TypeError for headers that are no JSON."""
        keys, headers, body = self.message
        return orjson.dumps((keys, headers, len(body), self.queue))


def heads_of(described: bytes) -> list[tuple[list[str], dict[str, object], int, str | None]]:
    """The heads of a segment: routing keys, headers, size of the body, queue."""
    heads: list[tuple[list[str], dict[str, object], int, str | None]] = orjson.loads(described)
    return heads


def unpack(last: int, described: bytes, bodies: bytes, after: int, wanted: Wanted) -> Iterator[Entry]:
    """The entries of a segment that come after offset `after` and are wanted."""
    heads = heads_of(described)
    start = 0
    for seq, (keys, headers, size, queue) in enumerate(heads, last - len(heads) + 1):
        if seq > after and wanted(seq, keys, queue):
            yield Entry(Message(tuple(keys), headers, bodies[start : start + size]), queue=queue, seq=seq)
        start += size


def pack_message(message: Message) -> tuple[bytes, bytes]:
    return orjson.dumps((message.routing_keys, message.headers)), message.body


def unpack_message(head: bytes, body: bytes) -> Message:
    keys, headers = orjson.loads(head)
    return Message(tuple(keys), headers, body)


@dataclass(frozen=True, slots=True)
class Page:
    """The wanted entries among all up to `reached`, in order."""

    entries: list[Entry]
    reached: int


@dataclass(frozen=True, slots=True)
class QueueRow:
    name: str
    history: History
    cursor: int
    """All up to here is settled."""
    beyond: frozenset[int]
    """Offsets behind the cursor that are settled, too."""
    expires: float | None
    seen: float
    """When it last had a consumer, in seconds since 1970."""


@dataclass(slots=True)
class Backlog:
    """What a queue has not settled when the journal is opened."""

    waiting: int = 0
    first: int | None = None
    delayed: int = 0


@dataclass(frozen=True, slots=True)
class CursorRow:
    queue: str
    cursor: int
    beyond: list[int]
    seen: float


@dataclass(frozen=True, slots=True)
class DelayedRow:
    """A message that is delivered again at `due` (seconds since 1970)."""

    id: int
    queue: str
    due: float
    tries: int
    message: Message


@dataclass(frozen=True, slots=True)
class Forget:
    """A delayed message that is settled."""

    id: int
    queue: str


@dataclass(frozen=True, slots=True)
class DeadRow:
    queue: str
    reason: str
    time: float
    parked: bool
    message: Message
    id: int | None = None
    """None until it is written."""


Step = DelayedRow | Forget | DeadRow


@dataclass(frozen=True, slots=True)
class Saving:
    """What consumers have settled, for one transaction: where a queue stands, and what became of those that failed."""

    cursors: list[CursorRow] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Retention:
    """What may go: of all up to offset `settled`, what is older than `before` or beyond `size` bytes."""

    settled: int
    before: float
    size: int
