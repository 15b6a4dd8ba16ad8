"""Objects that are written once and never change, held in memory: each is read once, however often they are listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Generic, TypeVar

from pydantic import BaseModel

from shared.objects.base import ObjectInfo, ObjectStore, list_all
from voxloom.errors import NotFound

M = TypeVar("M", bound=BaseModel)

_READ_AT_ONCE = 32


class KeptObjects(Generic[M]):
    """Those of one collection whose keys begin with `prefix`; the rest of a key is the name."""

    def __init__(self, store: ObjectStore, collection: str, prefix: str, model: type[M]) -> None:
        self._store = store
        self._collection = collection
        self._prefix = prefix
        self._model = model
        self._known: dict[str, M] = {}
        self._reading = asyncio.Lock()

    async def all(self) -> Mapping[str, M]:
        """Those there are now, by name. What was written before the call is among them."""
        async with self._reading:
            there = [item.key.removeprefix(self._prefix) async for item in self._list()]
            known = {name: self._known[name] for name in there if name in self._known}
            new = [name for name in there if name not in known]
            for start in range(0, len(new), _READ_AT_ONCE):
                some = new[start : start + _READ_AT_ONCE]
                read = await asyncio.gather(*map(self._read, some))
                known |= {name: one for name, one in zip(some, read, strict=True) if one is not None}
            self._known = known
            return known

    def _list(self) -> AsyncIterator[ObjectInfo]:
        return list_all(self._store, self._collection, self._prefix)

    async def _read(self, name: str) -> M | None:
        try:
            return self._model.model_validate_json(await self._store.get(self._collection, self._prefix + name))
        except NotFound:  # It has just been deleted.
            return None
