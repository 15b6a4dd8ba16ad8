"""Subscriptions that have tasks: how they begin, what they let end, how they end. For every adapter."""

from __future__ import annotations

import asyncio
import functools
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from messages.base import Event
from shared.bus.base import Handler, Subscription

CANCEL_SECS = 5.0
"""How long a handler may take to end once it has been cancelled."""

log = logging.getLogger("voxloom.bus")


class HandlerCancelled(Exception):
    """A handler was cancelled by something of its own: it failed, and its consumer lives on."""


class GivenUp(BaseException):
    """A handler failed, and what it would try again here is for the next consumer: nothing of it is settled.

    No Exception, so that `deliver` lets it pass.
    """


class Progress:
    """How far something has come, and who waits for it to come so far."""

    def __init__(self) -> None:
        self.point = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def reach(self, point: int) -> None:
        self.point = point
        if self._waiting:
            self._tell(lambda wanted: wanted <= point)

    def break_off(self) -> None:
        """It comes no further; those who wait are told nothing else than that."""
        self._tell(lambda _: True)

    def _tell(self, whom: Callable[[int], bool]) -> None:
        for wanted, waiting in self._waiting:
            if whom(wanted) and not waiting.done():
                waiting.set_result(None)
        self._waiting = [one for one in self._waiting if not one[1].done()]

    async def wait(self, point: int) -> bool:
        """Whether it has come so far."""
        if self.point < point:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((point, waiting))
            await waiting
        return self.point >= point


class Worked(Subscription):
    """A subscription with tasks, which it owns. `on_close` is told once it is over."""

    def __init__(self, on_close: Callable[[Worked], None]) -> None:
        self._on_close = on_close
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._awake = asyncio.Event()
        self._closing = False

    @abstractmethod
    async def _work(self) -> None:
        """Runs until `_closing`."""

    def start(self, name: str, tasks: int = 1) -> None:
        for number in range(tasks):
            task = asyncio.create_task(self._work(), name=f"bus.{name}.{number}")
            task.add_done_callback(self._on_task_done)
            self._tasks.add(task)

    def wake(self) -> None:
        self._awake.set()

    @property
    def alive(self) -> bool:
        return not self._closing and not any(task.done() for task in self._tasks)

    @contextmanager
    def _handling(self) -> Iterator[asyncio.Task[Any]]:
        """Marks this task as one that close() lets end."""
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            yield task
        finally:
            self._busy.discard(task)

    async def close(self, *, drain: float = 10.0) -> None:
        self._closing = True
        self.wake()
        current = asyncio.current_task()
        others = {task for task in self._tasks if task is not current and not task.done()}
        try:
            for task in others - self._busy:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=drain)
        finally:
            await self._end(others)
            self._on_close(self)

    async def _end(self, tasks: set[asyncio.Task[None]]) -> None:
        left = {task for task in tasks if not task.done()}
        for task in left:
            task.cancel()
        if left:
            _, stuck = await asyncio.wait(left, timeout=CANCEL_SECS)
            for task in stuck:
                log.error("%s does not end, though cancelled; it is left behind", task.get_name())

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s died; nothing reaches its handler any more", task.get_name(), exc_info=error)

    @property
    def gives_up(self) -> bool:
        """Whether what fails now is for others to try again."""
        return self._closing

    def guarded(self, handler: Handler) -> Handler:
        """The handler, marked as one that `close` lets end; and what it raises, made fit for `deliver`."""

        @functools.wraps(handler)
        async def guarded(events: Sequence[Event]) -> None:
            with self._handling() as task:
                try:
                    await handler(events)
                except asyncio.CancelledError as error:
                    if task.cancelling():
                        raise
                    raise HandlerCancelled("The handler was cancelled from within.") from error
                except Exception as error:
                    if self.gives_up:
                        raise GivenUp from error
                    raise

        return guarded
