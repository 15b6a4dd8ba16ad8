"""A store on which a server has asked who people are never serves one that does not ask."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from shared.control.objects import ADMINS, MODE, Mode
from shared.control.store import ControlStore
from voxloom.errors import Conflict, Misconfigured
from voxloom.values import utc_now

CLOSED = "store_is_closed"


async def hold(store: ControlStore, auth: Literal["open", "closed"]) -> None:
    """Notes that the mode is `closed`. Raises Misconfigured where it was and is not any more, and StoreUnavailable."""
    if await store.read(MODE) is None and (auth == "closed" or await store.read(ADMINS) is None):
        if auth == "closed":
            with suppress(Conflict):
                await store.create(Mode(since=utc_now()))
    elif auth == "open":
        raise Misconfigured(
            "What is in this store was kept by a server that asks who people are, and this one would not ask. Set "
            '`auth` to "closed" (VOXLOOM_AUTH=closed), or name another store.',
            code=CLOSED,
        )
