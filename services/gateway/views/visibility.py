"""Which files of a project others than their maker may see, and what is remembered of that."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from messages.base import Event
from messages.files import FileCommitted, FileDeleted, FileDeleteRequested
from services.gateway.views.presigned import Uploads
from services.gateway.views.runs import LiveView
from shared.caller import Caller
from shared.file_names import Names
from shared.files import Located, Settled, being_deleted, file_not_found, find_visible
from shared.newest import Newest
from shared.objects.base import ObjectStore

REMEMBERED = 65_536
TRUSTED_SECS = 30.0
"""How long a file that was seen is taken to be there: expiry is not announced."""


class Seen(NamedTuple):
    """A file that could be seen, by those of its project."""

    project: str
    until: float
    made: datetime


class FileSight:
    def __init__(self, store: ObjectStore, view: LiveView, uploads: Uploads) -> None:
        self._uploads = uploads
        self._store = store
        self._view = view
        self._seen: Newest[str, Seen] = Newest(REMEMBERED)

    def hear(self, event: Event) -> None:
        if isinstance(event, FileCommitted):
            self._remember(event.subject, event.project, event.time)
        elif isinstance(event, FileDeleteRequested | FileDeleted):
            self._seen.pop(event.subject, None)

    async def find(self, caller: Caller, name: str) -> Located:
        """Raises NotFound (`file_not_found`), also for a file that is there but must not be seen."""
        found = await self._called(caller, {name: Names.of(caller).possible(name)})
        if name not in found:
            raise file_not_found(name[:200])
        return found[name]

    async def ids(self, caller: Caller, names: Iterable[str]) -> dict[str, str]:
        """The ids of the files that can be seen, by what the caller calls them, each once, in their order."""
        now = time.monotonic()
        called = Names.of(caller)
        possible = {name: called.possible(name) for name in names}
        known = {name: ids[0] for name, ids in possible.items() if self._was_seen(caller, ids[0], now)}
        found = await self._called(caller, {name: ids for name, ids in possible.items() if name not in known})
        known |= {name: file.file_id for name, file in found.items()}
        return {name: known[name] for name in possible if name in known}

    async def missing_now(self, caller: Caller, file_ids: Iterable[str]) -> list[str]:
        """Those that cannot be seen, each once, in their order. Nothing that was seen before counts, nor what somebody
        is about to delete."""
        wanted = list(dict.fromkeys(file_ids))
        found = await self._owned(caller, wanted)
        going = set(await being_deleted(self._store, found))
        return [one for one in wanted if one not in found or one in going]

    async def visible_of(self, file_ids: Iterable[str]) -> dict[str, Located]:
        """Those that can be seen, of all projects. What was put through a URL and never looked at is left alone."""
        return await find_visible(self._store, file_ids, self._settled)

    async def _called(self, caller: Caller, possible: Mapping[str, Sequence[str]]) -> dict[str, Located]:
        """Those that can be seen, by name, of the ids that each may mean. What was put through a URL is looked at
        now."""
        found = await self._first_of(caller, possible)
        if unseen := {name: ids for name, ids in possible.items() if name not in found}:
            await self._uploads.commit(caller, list(unseen))  # Or somebody else has, just now.
            found |= await self._first_of(caller, unseen)
        return found

    async def _first_of(self, caller: Caller, possible: Mapping[str, Sequence[str]]) -> dict[str, Located]:
        found: dict[str, Located] = {}
        for turn in range(max(map(len, possible.values()), default=0)):
            unsure = {name: ids[turn] for name, ids in possible.items() if name not in found and turn < len(ids)}
            owned = await self._owned(caller, list(unsure.values())) if unsure else {}
            found |= {name: owned[one] for name, one in unsure.items() if one in owned}
        return found

    async def _owned(self, caller: Caller, file_ids: Sequence[str]) -> dict[str, Located]:
        visible = await self.visible_of(file_ids)
        owned = {file_id: file for file_id, file in visible.items() if caller.owns(file.project)}
        for file_id, file in owned.items():
            self._remember(file_id, file.project, file.info.modified)
        return owned

    async def _settled(self, run: str) -> Settled | None:
        found = await self._view.find(run)
        return None if found is None else Settled(found.state.status, found.state.attempt)

    def made(self, file_id: str) -> datetime | None:
        """When a file was made that was seen lately, or a little later; None: it is not remembered."""
        seen = self._seen.get(file_id)
        return None if seen is None else seen.made

    def _remember(self, file_id: str, project: str, made: datetime) -> None:
        self._seen[file_id] = Seen(project, time.monotonic() + TRUSTED_SECS, made)

    def _was_seen(self, caller: Caller, file_id: str, now: float) -> bool:
        seen = self._seen.get(file_id)
        return seen is not None and seen.until > now and caller.owns(seen.project)
