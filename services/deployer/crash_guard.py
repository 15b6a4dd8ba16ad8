"""Who has begun a deploy and not come to an end of it: what ends the process each time must not be tried for ever."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson

from shared.objects.base import EXPIRING, ObjectStore
from shared.records.store import DEPLOYS
from voxloom.errors import NotFound, VoxloomError

MOST = 2
"""So many processes may end with a deploy under way before it counts as the reason."""


class Tries:
    """Of one life of a deployer, which goes by `life` among all others there ever are."""

    def __init__(self, store: ObjectStore, life: str) -> None:
        self._store = store
        self._life = life

    @asynccontextmanager
    async def one_more(self, deploy: str) -> AsyncIterator[bool]:
        """Whether the deploy has been the end of too many processes. An exception that comes out is none."""
        lives = await self._lives(deploy)
        deadly = is_deadly(lives, self._life)
        await self._note(deploy, [*lives, self._life])
        try:
            yield deadly
        finally:
            # Where even this fails, the note says that this life has begun it: that does not count against it.
            with contextlib.suppress(VoxloomError):
                await self._note(deploy, lives)

    async def _lives(self, deploy: str) -> list[str]:
        try:
            lives: list[str] = orjson.loads(await self._store.get(DEPLOYS, _key(deploy)))
        except NotFound:
            return []
        return [life for life in lives if life != self._life]

    async def _note(self, deploy: str, lives: Sequence[str]) -> None:
        if lives:
            await self._store.put(DEPLOYS, _key(deploy), orjson.dumps(lives), tags=EXPIRING)
        else:
            await self._store.delete(DEPLOYS, _key(deploy))


def is_deadly(lives: Sequence[str], own: str) -> bool:
    """Whether so many others have begun it, and not come to an end."""
    return len(set(lives) - {own}) >= MOST


def _key(deploy: str) -> str:
    return f"tries/{deploy}"
