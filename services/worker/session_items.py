"""Items of sessions in the store, written and read by runner processes alone; here they are bytes.

In `execution-store`, below `sessions/<hash of project and token>/`: `index` says which keys there are, what their
contents are called, and when it was written; `<name>` is one content, named by its sha256. A session that was not used
for a day counts as empty.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from shared.objects.base import ABSENT, EXPIRING, Condition, FileUpload, ObjectStore
from shared.records.store import COLLECTION
from voxloom.digests import named
from voxloom.errors import Conflict, InvalidInput, NotFound
from voxloom.models import Moment, Value, utc_now

MOST_ITEMS = 100
"""In one session; processes of different algorithms may each hold a few."""


class Index(Value):
    time: Moment
    items: dict[str, str] = {}


class SessionItems:
    """Those of one run's session. `scratch` is where its files are; unused for `hours`, it counts as empty."""

    def __init__(self, store: ObjectStore, project: str, token: str, scratch: Path, hours: float = 24.0) -> None:
        self._store = store
        self._prefix = f"sessions/{hashlib.sha256(f'{project}/{token}'.encode()).hexdigest()}/"
        self._scratch = scratch
        self._kept_for = timedelta(hours=hours)

    async def index(self) -> dict[str, str]:
        """Content names by key."""
        try:
            index = Index.model_validate_json(await self._store.get(COLLECTION, self._prefix + "index"))
        except NotFound:
            return {}
        return index.items if utc_now() - index.time < self._kept_for else {}

    async def _unchanged(self) -> Condition:
        """To be asked for before the index is read: should it change in between, this does not hold any more."""
        try:
            return Condition(etag=(await self._store.head(COLLECTION, self._prefix + "index")).etag)
        except NotFound:
            return ABSENT

    async def fetch(self, key: str) -> Path | None:
        name = (await self.index()).get(key)
        if name is None:
            return None
        target = self._scratch / f"session-{name}"
        try:
            await self._store.checkout(COLLECTION, self._prefix + name, target)
        except NotFound:
            return None
        return target

    async def store(self, items: Mapping[str, str], removed: Sequence[str]) -> dict[str, str]:
        """The contents first, then the index that names them, then what it does not name any more goes."""
        places = {key: Path(place) for key, place in items.items()}
        names = await asyncio.to_thread(_names, places, self._scratch)
        uploads = {
            name: FileUpload(self._prefix + name, places[key], tags=EXPIRING, digest=named(name))
            for key, name in names.items()
        }
        await self._store.put_files(COLLECTION, list(uploads.values()))
        while True:
            condition = await self._unchanged()
            before = await self.index()
            kept = {key: name for key, name in before.items() if key not in removed} | names
            kept = dict(list(kept.items())[-MOST_ITEMS:])
            if await self._replace(kept, condition):
                break
        left = set(before.values()) - set(kept.values())
        await self._store.delete(COLLECTION, *(self._prefix + name for name in left))
        return names

    async def _replace(self, items: dict[str, str], condition: Condition) -> bool:
        """False where another run of the session was faster: its items count as well."""
        data = Index(time=utc_now(), items=items).model_dump_json().encode()
        try:
            await self._store.put(COLLECTION, self._prefix + "index", data, condition=condition, tags=EXPIRING)
        except Conflict:
            return False
        return True


def _names(places: Mapping[str, Path], scratch: Path) -> dict[str, str]:
    names = {}
    for key, place in places.items():
        if place.is_symlink() or not place.is_file() or not place.resolve().is_relative_to(scratch.resolve()):
            raise InvalidInput("A session's items have to lie in plain files of the run's own folder.")
        with place.open("rb") as file:
            names[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return names
