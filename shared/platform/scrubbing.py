"""Looking at every byte that a server has stored, embedded or elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from shared.objects.embedded.scrub import scrub as scrub_folder
from shared.objects.local import LocalObjectStore
from shared.objects.scrub import Scrubbed, State
from shared.platform import make_store
from shared.settings import Settings

Tell = Callable[[Scrubbed], None]


def scrub(settings: Settings, tell: Tell, *, give: bool) -> None:
    """Tells of every object. With `give`, one without a digest gets that of its bytes as they are now; an embedded
    store must not be open for that. Raises Misconfigured and StoreUnavailable."""
    folder = settings.data / "objects"
    if settings.store:
        asyncio.run(_tell_all(tell, _scrub_shared(settings, give=give)))
    elif give:
        asyncio.run(_tell_all(tell, _scrub_and_give(folder)))
    else:
        for found in scrub_folder(folder):
            tell(found)


async def _tell_all(tell: Tell, found: AsyncIterator[Scrubbed]) -> None:
    async for one in found:
        tell(one)


async def _scrub_shared(settings: Settings, *, give: bool) -> AsyncIterator[Scrubbed]:
    from shared.objects.cloud.scrub import scrub as scrub_store

    store = make_store(settings)
    try:
        await store.open()
        async for found in scrub_store(store, give=give):
            yield found
    finally:
        await store.close()


async def _scrub_and_give(folder: Path) -> AsyncIterator[Scrubbed]:
    """Nobody but the store itself writes into its index; so it is opened, which a running server prevents."""
    looking = scrub_folder(folder)
    first = await asyncio.to_thread(next, looking, None)  # Before the store is opened, which would make a new one.
    store = LocalObjectStore(folder)
    await store.open()
    try:
        found = first
        while found is not None:
            yield await _given(store, found)
            found = await asyncio.to_thread(next, looking, None)
    finally:
        await store.close()


async def _given(store: LocalObjectStore, found: Scrubbed) -> Scrubbed:
    if found.state is not State.UNKNOWN or found.digest is None:
        return found
    noted = await store.give_digest(found.collection, found.key, found.etag, found.digest)
    return replace(found, state=State.GIVEN) if noted else found
