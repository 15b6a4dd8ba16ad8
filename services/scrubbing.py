"""What `voxloom doctor --scrub` does on behalf of a server: it looks at every byte that the server has stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from shared.objects.embedded.scrub import scrub as scrub_folder
from shared.objects.scrub import Scrubbed
from shared.platform import make_store
from shared.settings import load_settings

Tell = Callable[[Scrubbed], None]


def scrub(tell: Tell, *, data: Path | None, give: bool) -> None:
    """Tells of every object of the server that would be started here. Raises Misconfigured and StoreUnavailable."""
    settings = load_settings(data=data)
    if settings.store:
        asyncio.run(_scrub_s3(tell, data=data, give=give))
        return
    for found in scrub_folder(settings.data / "objects", give=give):
        tell(found)


async def _scrub_s3(tell: Tell, *, data: Path | None, give: bool) -> None:
    store = make_store(load_settings(data=data))
    from shared.objects.cloud.scrub import scrub as scrub_store
    from shared.objects.s3 import S3ObjectStore

    assert isinstance(store, S3ObjectStore)
    try:
        await store.open()
        async for found in scrub_store(store, give=give):
            tell(found)
    finally:
        await store.close()
