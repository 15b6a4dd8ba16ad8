"""The bus of one machine: in process, with a journal on disk that outlives `kill -9`."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from messages.base import Event, WantsData
from messages.wire import Message, encode
from shared.bus.base import (
    Bus,
    DeadLetter,
    Following,
    Handler,
    LiveHandler,
    Queue,
    QueueStats,
    StreamHandler,
    Subscription,
    everything,
)
from shared.bus.embedded.engine import Engine
from shared.bus.embedded.failures import closed
from shared.bus.embedded.folder import Claim, claim
from shared.bus.embedded.rows import DeadRow, Entry
from shared.bus.limits import check_message
from shared.sealed.watch import FOLDER_GONE
from voxloom.errors import InvalidInput, VoxloomError

_DEAD_LETTER_ID = re.compile(r"[1-9][0-9]{0,17}")

log = logging.getLogger("voxloom.bus")


class LocalBus(Bus):
    """Publishes are committed in groups: each is on disk when `publish` returns. Cursors follow 50 ms later at most,
    so a kill makes that much come again.

    Consumers in this process get the very event that was published; one that lags reads from the journal.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stream_hours: float = 24.0,
        stream_bytes: int = 1 << 30,
        housekeeping: float = 5.0,
    ) -> None:
        """The stream keeps `stream_hours`, in `stream_bytes` of disk at most, and beyond both what some queue has
        not settled. Every `housekeeping` seconds it is cut, and queues that have expired go."""
        self._folder = folder
        self._stream_hours = stream_hours
        self._stream_bytes = stream_bytes
        self._housekeeping = housekeeping
        self._running: Engine | None = None
        self._changing = asyncio.Lock()

    @property
    def _engine(self) -> Engine:
        if self._running is None:
            raise closed()
        return self._running

    async def open(self) -> None:
        """Raises Misconfigured if the folder cannot be used, or another process has it open."""
        async with self._changing:
            if self._running is None:
                self._running = await self._start()

    async def _start(self) -> Engine:
        engine = Engine(
            await _claimed(self._folder),
            stream_hours=self._stream_hours,
            stream_bytes=self._stream_bytes,
            housekeeping=self._housekeeping,
        )
        try:
            await engine.drop_expired()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def close(self) -> None:
        async with self._changing:
            if self._running is not None:
                try:
                    await self._running.close()
                finally:
                    self._running = None

    async def publish(self, *events: Event) -> None:
        for event in events:
            if event.transient:
                raise InvalidInput(f"{event.type_name} is a live event; announce it instead.")
        await self._append([Entry(encode(event), event) for event in events])

    async def publish_message(self, message: Message) -> None:
        await self._append([Entry(message)])

    async def _append(self, entries: Sequence[Entry]) -> None:
        engine = self._engine
        if entries:
            await engine.publish(entries, [_head(entry) for entry in entries])

    def announce(self, event: Event) -> None:
        if self._running is not None:
            try:
                check_message(encode(event))
            except VoxloomError as error:
                log.warning("live news of %s is lost: %s", event.subject, error.message)
            else:
                self._running.announce_live(event)

    async def declare(self, *queues: Queue) -> None:
        await self._engine.declare(queues)

    async def consume(self, queue: Queue, handler: Handler) -> Subscription:
        return await self._engine.consume(queue, handler)

    async def follow(
        self,
        handler: StreamHandler,
        *,
        after: int | None = None,
        since: datetime | None = None,
        on_loss: Callable[[], None] | None = None,
        wanted: WantsData = everything,
    ) -> Following:
        # Of a journal nothing is lost while it is open.
        return await self._engine.follow(handler, after, since.timestamp() if since is not None else None, wanted)

    async def listen(self, patterns: Sequence[str], handler: LiveHandler, *, limit: int = 10_000) -> Subscription:
        return self._engine.listen(patterns, handler, limit)

    async def delete_queue(self, name: str) -> None:
        await self._engine.delete_queue(name)

    async def stats(self, *also: str) -> list[QueueStats]:
        return [queue.stats() for queue in self._engine.queues]

    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        return [_dead_letter(row) for row in await self._engine.dead_letters(limit)]

    async def replay(self, *dead_letter_ids: str) -> set[str]:
        numbers = {int(one) for one in dead_letter_ids if _DEAD_LETTER_ID.fullmatch(one)}
        return {str(number) for number in await self._engine.replay(sorted(numbers))}

    @property
    def reconnects(self) -> bool:
        return False

    async def healthy(self) -> bool:
        return self._running is not None and await self._running.healthy()

    def complaint(self) -> str | None:
        return FOLDER_GONE if self._running is not None and self._running.folder_is_gone else None


async def _claimed(folder: Path) -> Claim:
    """The folder, claimed in a thread. If nobody waits any more once it is, it is released."""
    claiming = asyncio.ensure_future(asyncio.to_thread(claim, folder))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        claiming.add_done_callback(_release)
        raise


def _release(claiming: asyncio.Future[Claim]) -> None:
    if claiming.cancelled():
        return
    if claiming.exception() is None:
        claiming.result().release()


def _head(entry: Entry) -> bytes:
    """What could spoil the commit of others is refused here."""
    check_message(entry.message)
    try:
        return entry.head()
    except TypeError as error:
        raise InvalidInput(f"The message's headers cannot be written as JSON: {error}.") from error


def _dead_letter(row: DeadRow) -> DeadLetter:
    return DeadLetter(
        id=str(row.id),
        queue=row.queue,
        reason=row.reason,
        time=datetime.fromtimestamp(row.time, UTC),
        message=row.message,
        parked=row.parked,
    )
