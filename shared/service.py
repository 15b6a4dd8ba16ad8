"""One life for all services: start, side tasks that are watched, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shared.bus.base import Bus, NotYet, Subscription
from shared.objects.base import ObjectStore
from shared.room import BoundlessRoom, Room
from shared.settings import Settings
from shared.strangers import Strangers


@dataclass(frozen=True)
class Platform:
    """What every service stands on."""

    bus: Bus
    store: ObjectStore
    settings: Settings
    room: Room = field(default_factory=BoundlessRoom)
    """On the disk of the data folder."""
    strangers: Strangers = field(default_factory=Strangers)
    """Who is on the same bus, and uses another store."""


class MadeWay(NotYet):
    """Another instance of a service has taken over while this one was cut off: it ends, and nothing is wrong."""


class Service(ABC):
    """Subclasses implement `on_start`, and `on_stop` where they own more than tasks and subscriptions.

    A side task that dies takes the service down: `failed` is set, and whoever runs the service stops the process
    rather than let it live on half dead.
    """

    name: ClassVar[str]
    runs_work: ClassVar[bool] = False
    """Whether a stop waits for work that may take its time."""
    keeps_house: ClassVar[bool] = False
    """Whether its process tells the store how long it keeps what: one service does for all."""
    url = ""
    """Where it is reached from outside, if it is, once it has started."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.bus = platform.bus
        self.store = platform.store
        self.room = platform.room
        self.settings = platform.settings
        self.log = logging.getLogger(f"voxloom.{self.name}")
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._subscriptions: list[Subscription] = []
        self.stopping = False
        """It takes nothing new any more; others may have been given what it has had."""

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Whether the service may start at all, before anything is opened. Raises Misconfigured."""

    @abstractmethod
    async def on_start(self) -> None:
        """Loads what the service needs and subscribes. When it returns, the service is ready."""

    async def on_stop(self) -> None:
        """Called once subscriptions are closed, before side tasks are cancelled. Bounded by the caller."""

    @property
    def ready(self) -> bool:
        return not self.failed.done() and all(subscription.alive for subscription in self._subscriptions)

    def hurry(self) -> None:
        """Does not wait for running work any longer."""

    def figures(self) -> Mapping[str, float]:
        """What the process shows of this service at /metrics, by name."""
        return {}

    async def start(self) -> None:
        await self.on_start()

    async def stop(self) -> None:
        """Takes nothing new, lets handlers end, then ends the side tasks."""
        self.stopping = True
        try:
            while self._subscriptions:
                await self._subscriptions.pop().close()
            await self.on_stop()
        finally:
            await self._end_tasks()
            if not self.failed.done():
                self.failed.cancel()
            elif not self.failed.cancelled():
                self.failed.exception()  # seen, even where nobody waits for it

    async def _end_tasks(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def keep(self, subscription: Subscription) -> Subscription:
        """Owns a subscription: closed at stop, watched for readiness."""
        self._subscriptions.append(subscription)
        return subscription

    async def let_go(self, subscription: Subscription) -> None:
        """Closes one before its time."""
        self._subscriptions.remove(subscription)
        await subscription.close()

    def fail(self, error: Exception) -> None:
        """The service cannot go on; the first reason counts."""
        if not self.failed.done():
            self.failed.set_exception(error)
            if isinstance(error, MadeWay):
                self.log.info("makes way: %s; a supervisor starts it again, to stand by", error)

    def spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs a side task under a name, kept until it ends; if it raises, the service has failed."""
        task = asyncio.create_task(work, name=f"{self.name}.{name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, MadeWay):
            self.log.critical("the side task %s died", task.get_name(), exc_info=error)
        self.fail(error if isinstance(error, Exception) else RuntimeError(f"{task.get_name()} died: {error!r}"))
