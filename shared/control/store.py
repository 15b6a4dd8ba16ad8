"""The objects of `control-store`, read and written. What is there counts; what somebody remembers does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pydantic import ValidationError

from shared.control.objects import ControlObject, Unreadable, kind_of
from shared.objects.base import ABSENT, ANYWAY, AT_ONCE, Condition, ObjectStore, list_all
from voxloom.errors import NotFound

COLLECTION = "control-store"

Found = ControlObject | Unreadable


class ControlStore:
    """Raises StoreUnavailable; Conflict (`precondition_failed`) where a condition does not hold."""

    def __init__(self, store: ObjectStore, *, prefix: str = "") -> None:
        """`prefix`: of the keys that are of interest."""
        self._store = store
        self.prefix = prefix

    @property
    def objects(self) -> ObjectStore:
        """Where these lie."""
        return self._store

    async def put(self, one: ControlObject, condition: Condition = ANYWAY) -> None:
        await self._store.put(COLLECTION, one.key, one.model_dump_json().encode(), condition=condition)

    async def create(self, one: ControlObject) -> None:
        await self.put(one, ABSENT)

    async def remove(self, *keys: str) -> None:
        await self._store.delete(COLLECTION, *keys)

    async def etags(self) -> dict[str, str]:
        """Of all that there is and is of interest."""
        return {one.key: one.etag async for one in list_all(self._store, COLLECTION, self.prefix)}

    async def find(self, key: str) -> tuple[Found, str] | None:
        """The object and an etag that it had, at this moment or shortly before: to replace it under that condition."""
        try:
            info = await self._store.head(COLLECTION, key)
        except NotFound:
            return None
        found = await self.read(key)
        return None if found is None else (found, info.etag)

    async def read(self, key: str) -> Found | None:
        """As it is now; None: there is none, or of a kind that this version knows nothing of."""
        try:
            data = await self._store.get(COLLECTION, key)
        except NotFound:
            return None
        return parse(key, data)

    async def read_many(self, keys: Iterable[str]) -> dict[str, Found | None]:
        waiting = iter(wanted := dict.fromkeys(keys))
        found: dict[str, Found | None] = {}

        async def keep_reading() -> None:
            for key in waiting:
                found[key] = await self.read(key)

        readers = (keep_reading() for _ in range(min(AT_ONCE, len(wanted))))
        ended = await asyncio.gather(*readers, return_exceptions=True)
        for error in filter(None, ended):
            raise error
        return found


def parse(key: str, data: bytes) -> Found | None:
    """What cannot be read lets nobody in, and does not keep others out."""
    kind = kind_of(key)
    if kind is None:
        return None
    try:
        found = kind.model_validate_json(data)
    except ValidationError as error:
        return Unreadable(key, _why(error))
    return found if found.key == key else Unreadable(key, f"it says that it is {found.key!r}")


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
