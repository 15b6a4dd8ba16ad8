"""The bus port: how services speak and listen. One behaviour test class runs on every adapter.

Three ways to receive, for three kinds of need:

- `consume` a **queue**: durable, at least once, in order; the handler takes events and returns, and the bus
  settles them in one place (shared/bus/delivery.py) by the queue's policy.
- `follow` the **stream**: every lifecycle event of the last day in one order, each with an offset, from any
  offset or time on; nothing to settle. For views that can be rebuilt.
- `listen` **live**: progress, log lines, heartbeats; only while listening, newest kept, oldest dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from messages.base import Event, Kind, WantsData
from messages.wire import Message
from shared.bus.limits import LARGEST

Handler = Callable[[Sequence[Event]], Awaitable[None]]
"""Takes events in order. Returning settles them all as done; raising, by the queue's policy. What is raised is logged:
NotYet as what it is, Unavailable as a wait, all else as an error."""

StreamHandler = Callable[[Sequence[tuple[int, Event]]], Awaitable[None]]
"""Takes (offset, event) pairs in order. It must not raise: a view that fails is rebuilt by its owner."""

LiveHandler = Callable[[Event], None]
"""Takes one event, at once and without waiting. It must not raise."""


class NotYet(Exception):
    """A handler cannot take these events now, and nothing is wrong: one instance takes over from another."""


@dataclass(frozen=True)
class Policy:
    """What becomes of an event whose handler raised.

    `delays` are the waits in seconds before each further try; after the last one comes the dead-letter queue.
    None: pause (growing to `longest_pause`) and try the same events again for ever; nothing is dropped.
    """

    delays: tuple[float, ...] | None
    first_pause: float = 0.1
    longest_pause: float = 5.0


KEEP = Policy(delays=None)
RETRY = Policy(delays=(1.0, 10.0, 60.0))


@dataclass(frozen=True)
class Queue:
    """A durable queue. `bindings` are topic patterns: `*` stands for one word, `#` for any number of them."""

    name: str
    bindings: tuple[str, ...]
    policy: Policy
    former_bindings: tuple[str, ...] = ()
    """Patterns that earlier versions have bound it to: a broker may have those still."""
    batch: int = 1
    """The handler gets up to so many waiting events at once."""
    linger: float = 0.0
    """Seconds to let a batch fill before it is handed out; for handlers to which many cost little more than one."""
    concurrency: int = 1
    """So many handlers at once; more than one gives up order."""
    single_active: bool = False
    """Of several consumers one is served; the next takes over when it goes."""
    expires: float | None = None
    """Seconds without a consumer after which the queue may go, with all in it."""
    longest: int | None = None
    """Of more that wait than so many, the oldest may go."""


@dataclass(frozen=True)
class QueueStats:
    name: str
    waiting: int
    """Events that no consumer has been handed yet."""
    consumers: int


@dataclass(frozen=True)
class DeadLetter:
    """A message that nobody could handle. `parked`: from a version newer than we know."""

    id: str
    queue: str
    reason: str
    time: datetime
    message: Message
    parked: bool = False


def everything(_kind: Kind, _subject: str) -> bool:
    """Whoever follows the stream wants all data."""
    return True


class Subscription(ABC):
    """A consumer, follower or listener that is at work."""

    @abstractmethod
    async def close(self, *, drain: float = 10.0) -> None:
        """Takes nothing more, lets the handler end (`drain` seconds at most, then cancels it), hands the rest over."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether events still reach the handler. False once its task has died or the broker has let it go."""

    @property
    def beginnings(self) -> int:
        """How often the broker has begun to serve it. Between two of them others may have been served."""
        return 1


class Following(Subscription):
    """A follower of the stream."""

    @abstractmethod
    async def catch_up(self) -> None:
        """Returns once the handler has had all that any publisher was told is kept, whoever that was, before this was
        called. Costs the broker a question and no message. Raises BusUnavailable."""

    def is_caught_up(self) -> bool:
        """Whether it has had all that already. False where nobody but the broker knows."""
        return False


class Bus(ABC):
    """All methods raise BusUnavailable when the bus cannot be reached or has been closed."""

    largest: ClassVar[int] = LARGEST
    """Bytes that the data of an event may have, as JSON, when it is the first about something: what is said later of
    the same has room for a little more."""

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def publish(self, *events: Event) -> None:
        """Returns when every event is kept, in this order; if it raises, it may or may not be.

        A lifecycle event reaches every queue bound to its routing key or to one of `copy_to`, also those without
        a consumer. Raises InvalidInput for transient events; TooLarge or InvalidInput for what no bus takes
        (shared/bus/limits.py): then none of them is kept.
        """

    @abstractmethod
    async def publish_message(self, message: Message) -> None:
        """Publishes bytes as they are: what a dead letter is replayed with. Kept like an event."""

    @abstractmethod
    def announce(self, event: Event) -> None:
        """Sends a transient event to whoever listens now. Never waits, never raises; it may be lost."""

    @abstractmethod
    async def declare(self, *queues: Queue) -> None:
        """Makes the queues if they are missing: from now on they keep what is bound to them."""

    @abstractmethod
    async def consume(self, queue: Queue, handler: Handler) -> Subscription:
        """Declares `queue` and feeds `handler` with batches of up to `queue.batch` events, one call at a time
        (`queue.concurrency` at a time where that is more)."""

    @abstractmethod
    async def follow(
        self,
        handler: StreamHandler,
        *,
        after: int | None = None,
        since: datetime | None = None,
        on_loss: Callable[[], None] | None = None,
        wanted: WantsData = everything,
    ) -> Following:
        """Feeds `handler` with every lifecycle event after offset `after`, or from `since` on, or from now on.

        Events are decoded headers first. Where `wanted` has no use for the data of one, the handler may be given its
        `Outline` in its place: that costs less, and its body is not looked at. `wanted` must not raise.

        Where `after` is older than what is kept, it starts with the oldest kept. Should the stream be lost while it is
        followed, and with it what waited in the queues, `on_loss` is called, and the handler hears the new one from its
        beginning.
        """

    @abstractmethod
    async def listen(self, patterns: Sequence[str], handler: LiveHandler, *, limit: int = 10_000) -> Subscription:
        """Calls `handler` with each transient event that matches; of more than `limit` waiting, the oldest go."""

    @abstractmethod
    async def delete_queue(self, name: str) -> None:
        """Removes a queue and what waits in it; silent if there is none."""

    @abstractmethod
    async def stats(self, *also: str) -> list[QueueStats]:
        """Of the queues that were declared here, and of those in `also` that are there."""

    @abstractmethod
    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        """The oldest first."""

    @abstractmethod
    async def replay(self, *dead_letter_ids: str) -> set[str]:
        """Gives dead letters back to the queues they came from, as new, and tells which. Of the others there is none,
        or its queue is gone. If it raises, some may have gone back, and may come twice."""

    @property
    def reconnects(self) -> bool:
        """Whether a subscription that events no longer reach comes back by itself, once the broker does."""
        return True

    @abstractmethod
    async def healthy(self) -> bool:
        """Whether a publish would succeed and every subscription made here is alive."""

    def complaint(self) -> str | None:
        """What is wrong with the bus and only people can mend, in a few words."""
        return None
