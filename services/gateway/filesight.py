"""Which files others than their maker may see, and what is remembered of that."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable

from messages.base import Event
from messages.files import FileCommitted, FileDeleted, FileDeleteRequested
from services.gateway.live import LiveView
from shared.files import Located, Settled, file_not_found, is_visible, locate
from shared.objects.base import ObjectStore
from voxloom.errors import InvalidInput, NotFound

REMEMBERED = 65_536
TRUSTED_SECS = 30.0
"""How long a file that was seen is taken to be there: expiry is not announced."""
AT_ONCE = 64
"""Files looked up at the same time for one request."""


class FileSight:
    def __init__(self, store: ObjectStore, view: LiveView) -> None:
        self._store = store
        self._view = view
        self._seen: OrderedDict[str, float] = OrderedDict()

    def hear(self, event: Event) -> None:
        if isinstance(event, FileCommitted):
            self._remember(event.subject)
        elif isinstance(event, FileDeleteRequested | FileDeleted):
            self._seen.pop(event.subject, None)

    async def find(self, file_id: str) -> Located:
        """Raises NotFound (`file_not_found`), also for a file that is there but must not be seen."""
        try:
            file = await locate(self._store, file_id)
        except InvalidInput:
            raise file_not_found(file_id[:200]) from None  # No key could have this name.
        if not is_visible(file, await self._settled(file.run) if file.run and not file.entry else None):
            raise file_not_found(file_id)
        self._remember(file_id)
        return file

    async def missing(self, file_ids: Iterable[str]) -> list[str]:
        """Those that cannot be seen, each once, in their order."""
        now = time.monotonic()
        unsure = [one for one in dict.fromkeys(file_ids) if self._seen.get(one, 0.0) <= now]
        if not unsure:
            return []
        missing: list[str] = []
        for start in range(0, len(unsure), AT_ONCE):
            some = unsure[start : start + AT_ONCE]
            found = await asyncio.gather(*(self._is_there(one) for one in some))
            missing += [one for one, there in zip(some, found, strict=True) if not there]
        return missing

    async def _is_there(self, file_id: str) -> bool:
        try:
            await self.find(file_id)
        except NotFound:
            return False
        return True

    async def _settled(self, run: str) -> Settled | None:
        found = await self._view.find(run)
        return None if found is None else Settled(found.state.status, found.state.attempt)

    def _remember(self, file_id: str) -> None:
        self._seen[file_id] = time.monotonic() + TRUSTED_SECS
        self._seen.move_to_end(file_id)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
