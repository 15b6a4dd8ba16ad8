"""Threads for what blocks. What comes out of them are this project's errors only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from shared.objects.disk.failures import FAILURES, closed, unavailable
from voxloom.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("voxloom.objects")


class Pool:
    """Raises StoreUnavailable for what the disk or the database says, and once it is closed. `who` is what is said not
    to be able."""

    def __init__(self, name: str, threads: int, who: str = "The object store") -> None:
        self._who = who
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._loop = asyncio.get_running_loop()

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Begins work that goes on even if nobody waits for it any more."""
        return asyncio.wrap_future(self._submit(work, *args, **kwargs), loop=self._loop)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.start(work, *args, **kwargs)

    async def obtain(self, undo: Callable[[T], None], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, for what must not get lost: if the caller is cancelled, `undo` gets the result."""
        future = self._submit(work, *args, **kwargs)
        try:
            return await asyncio.shield(asyncio.wrap_future(future, loop=self._loop))
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: undo(done.result()) if done.exception() is None else None)
            raise

    def later(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Work nobody waits for. Comes from any thread; `close` waits for it, and afterwards it is done at once."""
        task = partial(work, *args, **kwargs)
        try:
            self._submit(task).add_done_callback(_log_failure)
        except StoreUnavailable:
            _attempt(task)

    async def close(self) -> None:
        """Ends when all work that was begun has ended."""
        await asyncio.to_thread(self._executor.shutdown)

    def _submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return self._executor.submit(_translated, partial(work, *args, **kwargs), self._who)
        except RuntimeError:
            raise closed() from None


def _translated(work: Callable[[], T], who: str) -> T:
    try:
        return work()
    except ConnectionError:  # Of a socket that a file is sent to: nothing is wrong here.
        raise
    except FAILURES as error:
        raise unavailable(error, who) from error


def _attempt(work: Callable[[], None]) -> None:
    try:
        work()
    except FAILURES as error:
        log.warning("the object store could not clean up: %s", error)


def _log_failure(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("the object store could not clean up: %s", error)
