"""Large JSON bodies go through a few at a time: each is in memory whole, several times over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxloom.errors import Unavailable

SMALL = 256 << 10
"""Bodies of up to so many bytes never wait."""
AT_ONCE = 2
WAIT_SECS = 30.0


class Turnstile:
    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def turn(self, size: int | None) -> AsyncIterator[None]:
        """Around the whole of a request; `size` is None where it is not known. Raises Unavailable (`server_busy`)."""
        if size is not None and size <= SMALL:
            yield
            return
        await self._wait()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(WAIT_SECS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                f"Other large requests take more than {WAIT_SECS:g} s; try again, or put large data into a file.",
                code="server_busy",
            ) from None
