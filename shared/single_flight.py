"""One errand for all who want it done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator


class Together:
    """Whoever calls gets an errand that began after the call; those who call while one is under way share the next."""

    def __init__(self, name: str, errand: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._errand = errand
        self._now: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        """Those who want the next one. Each has a future of their own: it may be cancelled, and the errand goes on."""

    async def __call__(self) -> None:
        """Raises what the errand raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._now), name=self._name)
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._now, self._next = self._next, None
        waiting, self._waiting = self._waiting, []
        try:
            await self._errand()
        except asyncio.CancelledError:
            _cancel(waiting)
            raise
        except BaseException as error:  # noqa: BLE001 - those who wait raise it
            for one in _left(waiting):
                one.set_exception(error)
        else:
            for one in _left(waiting):
                one.set_result(None)

    async def close(self) -> None:
        """Gives up what is under way; who waits for it is cancelled."""
        tasks = [task for task in (self._now, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _cancel(self._waiting)


def _left(waiting: list[asyncio.Future[None]]) -> Iterator[asyncio.Future[None]]:
    return (one for one in waiting if not one.done())


def _cancel(waiting: list[asyncio.Future[None]]) -> None:
    for one in _left(waiting):
        one.cancel()
