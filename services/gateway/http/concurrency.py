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


def passes(size: int | None) -> bool:
    """Whether a body of this size need not wait for a turn; None where the size is not known."""
    return size is not None and size <= SMALL


class Turnstile:
    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around the whole of a request that does not pass as it is. Raises Unavailable (`server_busy`)."""
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
