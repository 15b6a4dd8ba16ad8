"""The embedded bus at work: what is published goes to the journal, and from there to those who receive."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from messages.base import Event, WantsData
from shared.bus.base import Handler, LiveHandler, Queue, StreamHandler
from shared.bus.embedded.database import Database
from shared.bus.embedded.failures import unavailable
from shared.bus.embedded.feed import Feed
from shared.bus.embedded.folder import Claim
from shared.bus.embedded.queues import LocalQueue
from shared.bus.embedded.routes import Routes
from shared.bus.embedded.rows import Backlog, DeadRow, DelayedRow, Entry, Page, QueueRow, Retention, Step, Wanted
from shared.bus.embedded.saver import Saver
from shared.bus.embedded.subscriptions import Consumer, Follower, Listener
from shared.bus.embedded.writer import Writer
from shared.bus.tasks import Worked
from shared.bus.topology import in_stream
from shared.sealed.watch import Gone
from voxloom.errors import BusUnavailable

T = TypeVar("T")

log = logging.getLogger("voxloom.bus")


class Engine:
    """Lives from open to close of the bus, on one loop. It is the Desk of its queues."""

    def __init__(self, claim: Claim, *, stream_hours: float, stream_bytes: int, housekeeping: float) -> None:
        self._claim = claim
        self._stream_secs = stream_hours * 3600.0
        self._stream_bytes = stream_bytes
        self._housekeeping = housekeeping
        self._newest = claim.database.segments.last
        self._delayed_id = claim.last_delayed
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="bus.reader")
        self._queues: dict[str, LocalQueue] = {}
        self._routes: Routes[LocalQueue] = Routes()
        self._followers: set[Follower] = set()
        self._live: Routes[Listener] = Routes()
        self._subscriptions: set[Worked] = set()
        self._writer = Writer(claim.database, self._announce)
        self._saver = Saver(self._writer)
        for row, backlog in claim.queues:
            self._add(row, backlog)
        self._keeper = asyncio.create_task(self._keep_house(), name="bus.housekeeping")
        self._keeper.add_done_callback(_on_keeper_done)

    async def close(self) -> None:
        """Handlers end and may still publish; then all that waits is written."""
        try:
            await asyncio.gather(*(subscription.close() for subscription in tuple(self._subscriptions)))
        finally:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            await self._save_at_end()
            # The writer's connection closes last: only it can leave the journal whole and sealed.
            self._reading.submit(self._claim.reader.close)
            await asyncio.to_thread(self._reading.shutdown)
            await self._writer.close()
            self._claim.unlock()

    async def _save_at_end(self) -> None:
        for queue in self._queues.values():
            self._saver.settled(queue)
        try:
            await self._saver.save_all()
        except BusUnavailable as error:
            log.error("the last that consumers have settled could not be saved, and will come again: %s", error)
        self._saver.stop()

    async def healthy(self) -> bool:
        if not self._writer.alive or self._keeper.done() or self.folder_is_gone:
            return False
        if not all(subscription.alive for subscription in self._subscriptions):
            return False
        return not self._writer.failing or await self._can_write()

    @property
    def folder_is_gone(self) -> bool:
        """Whether the journal is not where it was opened."""
        try:
            self._claim.database.check_folder()
        except Gone:
            return True
        return False

    async def _can_write(self) -> bool:
        try:
            await self._writer.act(lambda database: database.try_to_write())
        except BusUnavailable:
            return False
        return True

    # --- in ---

    def publish(self, entries: Sequence[Entry], heads: Sequence[bytes]) -> asyncio.Future[None]:
        return self._writer.append(entries, heads)

    def _announce(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.queue is not None:
                queue = self._queues.get(entry.queue)
                if queue is not None:
                    queue.offer(entry)
                continue
            for queue in self._routes.find(entry.message.routing_keys):
                queue.offer(entry)
            if self._followers and in_stream(entry.message.routing_keys):
                for follower in self._followers:
                    follower.offer(entry)
        self._newest = entries[-1].seq

    def announce_live(self, event: Event) -> None:
        for listener in self._live.find((event.routing_key, *event.copy_to)):
            listener.offer(event)

    # --- queues ---

    async def declare(self, specs: Sequence[Queue]) -> None:
        if all(self._is_declared(spec) for spec in specs):
            return

        def work(database: Database) -> list[QueueRow]:
            last = database.segments.last
            return [database.tables.declare(spec.name, spec.bindings, spec.expires, last) for spec in specs]

        await self._writer.act(work, lambda rows: self._on_declared(specs, rows))

    def _is_declared(self, spec: Queue) -> bool:
        queue = self._queues.get(spec.name)
        return queue is not None and queue.spec == spec

    def _on_declared(self, specs: Sequence[Queue], rows: Sequence[QueueRow]) -> None:
        for spec, row in zip(specs, rows, strict=True):
            queue = self._queues.get(row.name)
            if queue is None:
                queue = self._add(row, Backlog())
            queue.rebind(row)
            queue.spec = spec
            self._routes.bind(queue, spec.bindings)

    def _add(self, row: QueueRow, backlog: Backlog) -> LocalQueue:
        queue = LocalQueue(row, backlog, self)
        self._queues[row.name] = queue
        self._routes.bind(queue, row.history[-1][1])
        return queue

    async def delete_queue(self, name: str) -> None:
        if name in self._queues:
            await self._writer.act(lambda database: database.tables.delete_queue(name), lambda _: self._remove(name))

    def _remove(self, name: str) -> None:
        queue = self._queues.pop(name, None)
        if queue is not None:
            self._routes.unbind(queue)
            queue.delete()

    @property
    def queues(self) -> list[LocalQueue]:
        return list(self._queues.values())

    # --- dead letters ---

    async def dead_letters(self, limit: int) -> list[DeadRow]:
        await self._saver.save_all()
        return await self._read(lambda database: database.tables.dead_letters(limit))

    async def replay(self, identities: Sequence[int]) -> list[int]:
        """Moves dead letters to the ends of their queues; those of which there was one, and its queue."""
        await self._saver.save_all()
        queues = frozenset(self._queues)

        def work(database: Database) -> dict[int, Entry]:
            found = [database.tables.dead_letter(identity) for identity in identities]
            entries = {
                identity: Entry(dead.message, queue=dead.queue)
                for identity, dead in zip(identities, found, strict=True)
                if dead is not None and dead.queue in queues
            }
            database.segments.append(list(entries.values()), [entry.head() for entry in entries.values()])
            database.tables.forget_dead(entries)
            return entries

        moved = await self._writer.act(work, lambda moved: self._announce(list(moved.values())) if moved else None)
        return list(moved)

    # --- out ---

    async def consume(self, spec: Queue, handler: Handler) -> Consumer:
        await self.declare([spec])
        queue = self._queues.get(spec.name)
        if queue is None:
            raise BusUnavailable(f"The queue {spec.name} was deleted just now; try again.")
        consumer = Consumer(queue, spec, handler, room=self._saver.room, on_close=self._on_closed)
        self._subscriptions.add(consumer)
        return consumer

    async def follow(
        self, handler: StreamHandler, after: int | None, since: float | None, wanted: WantsData
    ) -> Follower:
        start = self._newest
        if after is not None:
            # An offset that never was comes from another journal: what is new here must not be missed.
            start = min(after, self._newest)
        elif since is not None:
            moment = since
            start = await self._read(lambda database: database.segments.offset_at(moment))
        follower = Follower(
            Feed(start, lags=start < self._newest),
            handler,
            wanted=wanted,
            read=lambda offset: self._page(offset, lambda _seq, keys, only: only is None and in_stream(keys)),
            newest=lambda: self._newest,
            on_close=self._on_closed,
        )
        self._followers.add(follower)
        self._subscriptions.add(follower)
        return follower

    def listen(self, patterns: Sequence[str], handler: LiveHandler, limit: int) -> Listener:
        listener = Listener(handler, limit, self._on_closed)
        self._live.bind(listener, patterns)
        self._subscriptions.add(listener)
        return listener

    def _on_closed(self, subscription: Worked) -> None:
        self._subscriptions.discard(subscription)
        if isinstance(subscription, Follower):
            self._followers.discard(subscription)
        elif isinstance(subscription, Listener):
            self._live.unbind(subscription)

    # --- what queues need (Desk) ---

    @property
    def newest(self) -> int:
        return self._newest

    def next_delayed_id(self) -> int:
        self._delayed_id += 1
        return self._delayed_id

    def settled(self, queue: LocalQueue, *steps: Step) -> None:
        self._saver.settled(queue, *steps)

    async def read(self, after: int, queue: LocalQueue) -> Page:
        return await self._page(after, queue.wants)

    async def due(self, queue: str, taken: frozenset[int], limit: int) -> tuple[list[DelayedRow], float | None]:
        now = time.time()
        return await self._read(lambda database: database.tables.due(queue, now, taken, limit))

    async def _page(self, after: int, wanted: Wanted) -> Page:
        end = self._newest
        return await self._read(lambda database: database.segments.read(after, end, wanted))

    async def _read(self, question: Callable[[Database], T]) -> T:
        def ask() -> T:
            with self._claim.reader.snapshot():
                return question(self._claim.reader)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, ask)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    # --- housekeeping ---

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self._housekeeping)
            try:
                await self._tidy()
            except BusUnavailable as error:
                log.warning("the bus could not tidy up; it tries again: %s", error)

    async def drop_expired(self) -> None:
        now = time.time()
        for queue in self.queues:
            if queue.expired(now):
                log.info("the queue %s has expired", queue.name)
                await self.delete_queue(queue.name)

    async def _tidy(self) -> None:
        if self.folder_is_gone:  # Looked at here, too, so that the log says it when nobody writes.
            return
        await self.drop_expired()
        now = time.time()
        for queue in self.queues:
            if queue.needs_saving(now):
                self._saver.settled(queue)
        settled = min((queue.cursor for queue in self.queues), default=self._newest)
        retention = Retention(settled, now - self._stream_secs, self._stream_bytes)
        # Small steps, so that publishers get their turns in between.
        while await self._writer.act(lambda database: database.segments.prune(retention)):
            pass


def _on_keeper_done(keeper: asyncio.Task[None]) -> None:
    if not keeper.cancelled() and (error := keeper.exception()) is not None:
        log.critical("the bus tidies up no more", exc_info=error)
