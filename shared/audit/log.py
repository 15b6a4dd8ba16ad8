"""What is to be written into the audit, and when: what must be there before, at once; all else a little later."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from shared.audit.batches import COLLECTION, FULL, packed
from shared.objects.base import ABSENT, ObjectStore
from shared.outages import Outage
from voxloom.errors import AuditUnavailable, Conflict, StoreUnavailable, VoxloomError
from voxloom.models import AuditEntry

FLUSH_SECS = 2.0
"""How long an entry waits for others."""
MOST_WAITING = 10_000
"""Entries in memory, while the store does not answer; of more the oldest are dropped, and counted."""
WRITE_SECS = 5.0
"""How long the store may take for one object."""

log = logging.getLogger("voxloom.audit")


class AuditLog:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._waiting: deque[AuditEntry] = deque()
        self._turn = asyncio.Lock()
        self._outage = Outage(log, "the audit cannot be written", "the audit can be written again", StoreUnavailable)
        self.on_flush: Callable[[], object] = lambda: None
        """Called before what waits is written: more may come of that."""
        self.dropped = 0
        """Entries that were never written."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def note(self, entry: AuditEntry) -> None:
        """To be written soon; waits for nothing."""
        self._waiting.append(entry)
        self._keep_few()

    def _keep_few(self) -> None:
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1

    async def before(self, entry: AuditEntry) -> None:
        """Writes what somebody is about to do. Raises AuditUnavailable: then it must not be done."""
        try:
            async with asyncio.timeout(WRITE_SECS):
                await self._write([entry])
        except (TimeoutError, VoxloomError) as error:
            self._outage.failed(error or "it took too long")
            raise AuditUnavailable(
                "The audit cannot be written just now, so nothing is changed that has to be in it; try again."
            ) from error

    async def flush(self) -> bool:
        """Writes what waits; whether that is done. What is not written waits on."""
        async with self._turn:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(FULL, len(self._waiting)))]
                try:
                    async with asyncio.timeout(WRITE_SECS):
                        await self._write(some)
                except BaseException as error:
                    self._waiting.extendleft(reversed(some))
                    self._keep_few()
                    if not isinstance(error, TimeoutError | VoxloomError):
                        raise
                    self._outage.failed(error or "it took too long")
                    return False
            self._outage.over()
            return True

    async def _write(self, entries: Iterable[AuditEntry]) -> None:
        for key, data in packed(entries):
            with suppress(Conflict):  # It is there already, with the same bytes.
                await self._store.put(COLLECTION, key, data, condition=ABSENT)

    async def keep_writing(self) -> None:
        """Without end."""
        while True:
            await asyncio.sleep(FLUSH_SECS)
            self.on_flush()
            await self.flush()

    async def close(self) -> None:
        """Writes what is left."""
        if not await self.flush():
            log.error("%d entries of the audit are lost: the store does not take them", len(self._waiting))
