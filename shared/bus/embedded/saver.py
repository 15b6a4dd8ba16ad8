"""Saves what consumers have settled: soon, together, and without anybody waiting for it."""

from __future__ import annotations

import asyncio
import logging

from shared.bus.embedded.queues import LocalQueue
from shared.bus.embedded.rows import Saving, Step
from shared.bus.embedded.writer import Writer
from voxloom.errors import BusUnavailable

SAVE_SECS = 0.05
"""Settled for so long at most before it is saved: what a kill makes come again."""
AGAIN_SECS = 1.0
MOST_UNSAVED = 10_000

log = logging.getLogger("voxloom.bus")


class Saver:
    """A queue's cursor and what became of its failed messages are always saved as one. One saving is under way at
    a time; what a failed one was to save, the next one saves."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[LocalQueue, None] = {}
        self._steps: list[tuple[LocalQueue, Step]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Future[None] | None = None
        self._roomy = asyncio.Event()
        self._roomy.set()

    def settled(self, queue: LocalQueue, *steps: Step) -> None:
        self._dirty[queue] = None
        self._steps += [(queue, step) for step in steps]
        self._arm(SAVE_SECS)
        if len(self._steps) >= MOST_UNSAVED:
            self._roomy.clear()

    async def room(self) -> None:
        """Waits while too much is unsaved, as when the disk is full."""
        await self._roomy.wait()

    async def save_all(self) -> None:
        """Saves all that has been settled so far. Raises BusUnavailable."""
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
        future = self._save()
        if future is not None:
            await asyncio.shield(future)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, after: float) -> None:
        if self._timer is None and self._under_way is None:
            self._timer = self._loop.call_later(after, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        try:
            self._save()
        except BusUnavailable as error:
            log.error("what consumers have settled could not be saved: %s", error)

    def _save(self) -> asyncio.Future[None] | None:
        """Begins a saving if there is something to save and none under way."""
        queues = [queue for queue in self._dirty if not queue.deleted]
        steps = [(queue, step) for queue, step in self._steps if not queue.deleted]
        if self._under_way is not None or not queues:
            return self._under_way
        saving = Saving([queue.row() for queue in queues], [step for _, step in steps])
        future = self._writer.act(lambda database: database.tables.save(saving))
        self._dirty, self._steps, self._under_way = {}, [], future
        future.add_done_callback(lambda done: self._on_saved(done, queues, steps))
        return future

    def _on_saved(
        self, done: asyncio.Future[None], queues: list[LocalQueue], steps: list[tuple[LocalQueue, Step]]
    ) -> None:
        self._under_way = None
        if done.cancelled() or done.exception() is not None:
            self._dirty = dict.fromkeys([*queues, *self._dirty])
            self._steps = [*steps, *self._steps]
            self._arm(AGAIN_SECS)
            return
        self._roomy.set()
        for queue, step in steps:
            queue.saved(step)
        if self._dirty:
            self._arm(SAVE_SECS)
