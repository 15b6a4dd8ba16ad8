"""A queue of the embedded bus: what waits in it, who is served, what is settled."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from messages.base import Event
from messages.wire import Message
from shared.bus.base import Queue, QueueStats
from shared.bus.delivery import Again, Dead, Done, Verdict
from shared.bus.embedded.feed import Feed
from shared.bus.embedded.routes import Routes
from shared.bus.embedded.rows import (
    Backlog,
    CursorRow,
    DeadRow,
    DelayedRow,
    Entry,
    Forget,
    History,
    Page,
    QueueRow,
    Step,
)

WINDOW = 2000
"""So many deliveries may be out while the first of them is not settled."""

DUE_AT_ONCE = 100


class Desk(Protocol):
    """What a queue needs of the bus."""

    @property
    def newest(self) -> int:
        """The offset of the newest entry that queues have been told of."""

    def next_delayed_id(self) -> int: ...

    def settled(self, queue: LocalQueue, *steps: Step) -> None:
        """Something has been settled: the cursor and `steps` are to be saved soon."""

    async def read(self, after: int, queue: LocalQueue) -> Page: ...

    async def due(self, queue: str, taken: frozenset[int], limit: int) -> tuple[list[DelayedRow], float | None]: ...


class Waiter(Protocol):
    """A consumer, as its queue knows it."""

    @property
    def wants_more(self) -> bool: ...

    def wake(self) -> None:
        """There may be something to take."""


class Bindings:
    """Which entries a queue wants, by the patterns that held when they came. Used by the reader's thread, too."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._steps = [(since, _routes(patterns)) for since, patterns in reversed(history)]

    def wants(self, seq: int, keys: Sequence[str], name: str, only: str | None) -> bool:
        """`name`: the queue's; `only`: the one queue that the entry is for, or None."""
        if only is not None:
            return only == name
        for since, routes in self._steps:
            if seq > since:
                return bool(routes.find(keys))
        return False


def _routes(patterns: tuple[str, ...]) -> Routes[bool]:
    routes: Routes[bool] = Routes()
    routes.bind(True, patterns)
    return routes


class LocalDelivery:
    """A Delivery. `delayed_id` where it has been tried before."""

    __slots__ = ("_queue", "delayed_id", "entry", "open", "tries")

    def __init__(self, queue: LocalQueue, entry: Entry, tries: int = 0, delayed_id: int | None = None) -> None:
        self._queue = queue
        self.entry = entry
        self.tries = tries
        self.delayed_id = delayed_id
        self.open = True

    @property
    def message(self) -> Message:
        return self.entry.message

    @property
    def event(self) -> Event | None:
        return self.entry.event

    async def settle(self, verdict: Verdict) -> None:
        if self.open:
            self.open = False
            self._queue.settle(self, verdict)


class LocalQueue:
    """Entries go out in order. `out` holds those of the journal from the first unsettled one on; what is given
    back, or due again, goes out before what is new."""

    def __init__(self, row: QueueRow, backlog: Backlog, desk: Desk) -> None:
        self.name = row.name
        self.spec: Queue | None = None
        self.bindings = Bindings(row.history)
        self.expires = row.expires
        self.seen = row.seen
        self.deleted = False
        self._desk = desk
        self._consumers: list[Waiter] = []
        lags = backlog.first is not None
        self._feed = Feed(backlog.first - 1 if backlog.first is not None else row.cursor, lags=lags)
        self._settled_before = row.beyond
        self._out: deque[LocalDelivery] = deque()
        self._again: deque[LocalDelivery] = deque()
        self._taken: set[int] = set()
        self._saved_cursor = row.cursor
        self._waiting = backlog.waiting + backlog.delayed
        self._due: float | None = 0.0 if backlog.delayed else None
        self._timer: asyncio.TimerHandle | None = None

    # --- consumers ---

    def join(self, consumer: Waiter) -> None:
        self._consumers.append(consumer)

    def leave(self, consumer: Waiter) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)
            self.seen = time.time()
            self._desk.settled(self)
        self.wake()

    def serves(self, consumer: Waiter) -> bool:
        """Whether it is this consumer's turn."""
        if self.spec is not None and self.spec.single_active:
            return self._consumers[:1] == [consumer]
        return consumer in self._consumers

    def wake(self) -> None:
        for consumer in self._consumers:
            consumer.wake()

    @property
    def has_consumers(self) -> bool:
        return bool(self._consumers)

    def expired(self, now: float) -> bool:
        return self.expires is not None and not self._consumers and now - self.seen > self.expires

    def needs_saving(self, now: float) -> bool:
        """Whether there is something to save that no settling has brought up: what came was for others, or there
        still is a consumer."""
        if self._consumers and self.expires is not None and now - self.seen > self.expires / 10:
            self.seen = now
            return True
        return self.cursor != self._saved_cursor

    def delete(self) -> None:
        """Its consumers get nothing more."""
        self.deleted = True
        if self._timer is not None:
            self._timer.cancel()
        self.wake()

    # --- in ---

    def offer(self, entry: Entry) -> None:
        """A new entry of the journal that is bound to this queue."""
        self._waiting += 1
        self._feed.offer(entry, wanted_now=bool(self._consumers))
        self.wake()

    def rebind(self, row: QueueRow) -> None:
        self.bindings = Bindings(row.history)
        self.expires = row.expires

    def wants(self, seq: int, keys: Sequence[str], only: str | None) -> bool:
        return seq not in self._settled_before and self.bindings.wants(seq, keys, self.name, only)

    def saved(self, step: Step) -> None:
        """What has been settled is on disk: a delayed message can be found there from now on."""
        if isinstance(step, DelayedRow):
            self._taken.discard(step.id)
            self._plan(step.due)
        elif isinstance(step, Forget):
            self._taken.discard(step.id)

    # --- out ---

    async def take(self, consumer: Waiter, limit: int) -> list[LocalDelivery]:
        """What `consumer` shall handle next; empty when it has to wait until it is woken."""
        while consumer.wants_more and self.serves(consumer):
            if self._due is not None and self._due <= time.time():
                await self._load_due()
            if batch := self._next(limit):
                return batch
            if not self._feed.lags or len(self._out) >= WINDOW:
                return []
            await self._feed.load(self._read, lambda: self._desk.newest)
        return []

    def fills(self, batch: int) -> bool:
        """Whether waiting would make a batch no fuller."""
        return self._feed.lags or len(self._again) + len(self._feed.ready) >= batch

    def _next(self, limit: int) -> list[LocalDelivery]:
        batch: list[LocalDelivery] = []
        while self._again and len(batch) < limit:
            batch.append(self._again.popleft())
        while self._feed.ready and len(batch) < limit and len(self._out) < WINDOW:
            delivery = LocalDelivery(self, self._feed.take())
            self._out.append(delivery)
            batch.append(delivery)
        return batch

    async def _read(self, after: int) -> Page:
        return await self._desk.read(after, self)

    async def _load_due(self) -> None:
        self._due = None
        try:
            rows, following = await self._desk.due(self.name, frozenset(self._taken), DUE_AT_ONCE)
        except BaseException:
            self._plan(time.time())
            raise
        for row in rows:
            self._taken.add(row.id)
            self._again.append(LocalDelivery(self, Entry(row.message), row.tries, row.id))
        self._plan(following)

    def _plan(self, due: float | None) -> None:
        """Looks for delayed messages at `due`, or earlier where that was planned."""
        if due is None or (self._due is not None and self._due <= due):
            return
        self._due = due
        if self._timer is not None:
            self._timer.cancel()
        self._set_timer(due)

    def _set_timer(self, due: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(0.001, due - time.time()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._due is not None and self._due > time.time():
            # The loop's clock and the one on the wall do not run alike.
            self._set_timer(self._due)
        else:
            self.wake()

    def give_back(self, deliveries: Iterable[LocalDelivery]) -> None:
        """What a consumer has not settled goes out again, before what is new."""
        back = [delivery for delivery in deliveries if delivery.open]
        if back:
            self._again = deque(sorted([*back, *self._again], key=lambda delivery: delivery.entry.seq))
            self.wake()

    # --- settling ---

    def settle(self, delivery: LocalDelivery, verdict: Verdict) -> None:
        if not isinstance(verdict, Again):
            self._waiting -= 1
        full = len(self._out) >= WINDOW
        while self._out and not self._out[0].open:
            self._out.popleft()
        if full:
            self.wake()
        if not self.deleted:
            self._desk.settled(self, *self._steps(delivery, verdict))

    def _steps(self, delivery: LocalDelivery, verdict: Verdict) -> Iterator[Step]:
        message = delivery.message
        match verdict:
            case Again():
                identity = delivery.delayed_id or self._desk.next_delayed_id()
                due = time.time() + verdict.after
                yield DelayedRow(identity, self.name, due, delivery.tries + 1, message)
                return
            case Dead():
                yield DeadRow(self.name, verdict.reason, time.time(), verdict.parked, message)
            case Done():
                pass
        if delivery.delayed_id is not None:
            yield Forget(delivery.delayed_id, self.name)

    @property
    def cursor(self) -> int:
        """All entries up to here are settled, or were not for this queue."""
        if self._out:
            return self._out[0].entry.seq - 1
        if self._feed.ready:
            return self._feed.ready[0].seq - 1
        return self._feed.loaded if self._feed.lags else max(self._feed.loaded, self._desk.newest)

    def row(self) -> CursorRow:
        cursor = self.cursor
        beyond = [delivery.entry.seq for delivery in self._out if not delivery.open]
        beyond += [seq for seq in self._settled_before if seq > cursor]
        self._saved_cursor = cursor
        return CursorRow(self.name, cursor, beyond, self.seen)

    def stats(self) -> QueueStats:
        return QueueStats(self.name, max(0, self._waiting), len(self._consumers))
