"""How something is received from the broker: over one session after the other, whatever becomes of each."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable

from shared.bus.amqp.failures import NotThere
from shared.bus.amqp.link import FIRST_PAUSE, LONGEST_PAUSE, Link
from shared.bus.amqp.sessions import Session
from shared.bus.tasks import Worked
from shared.outages import waiting
from voxloom.backoff import Backoff
from voxloom.errors import BusUnavailable, VoxloomError

log = logging.getLogger("voxloom.bus")


class Receiver(Worked):
    """Its tasks share a session. A handler that is at work when the session is lost ends undisturbed; what it has
    handled comes again."""

    def __init__(self, name: str, queue: str, link: Link, on_close: Callable[[Worked], None]) -> None:
        super().__init__(on_close)
        self.name = name
        self.queue = queue
        """As the broker calls it; empty until the broker has named it."""
        self._link = link
        self._session: Session | None = None
        self._beginnings = 0
        self._beginning = asyncio.Lock()
        self._over = False

    @abstractmethod
    async def _begin(self) -> Session:
        """Opens a channel and receives on it. Raises what `translating` does, and NotThere."""

    async def begin(self, tasks: int = 1) -> None:
        """The first session; what is wrong with it is the caller's to know."""
        self._session = await self._begin()
        self._beginnings = 1
        self.start(self.name, tasks)

    async def _usable(self) -> Session | None:
        """The session there is, or the next; None once there will be no more."""
        async with self._beginning:
            if self._session is not None and self._session.lost:
                await self._session.end()
                self._session = await self._next()
            return self._session

    async def _next(self) -> Session | None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while not self._closing and not self._over:
            try:
                session = await self._begin()
                self._beginnings += 1
                return session
            except NotThere as error:
                log.critical("the queue of %s has been deleted; nothing reaches its handler: %s", self.name, error)
                self._over = True
            except VoxloomError as error:
                log.warning("%s does not receive yet: %s", self.name, error, extra=waiting(error))
                await asyncio.sleep(backoff.next())
        return None

    def end_for_good(self) -> None:
        """Its queue has been deleted."""
        self._over = True
        self.lose()

    def lose(self) -> None:
        if self._session is not None:
            self._session.lose()

    @property
    def _receives(self) -> bool:
        return self._session is not None and not self._session.lost

    @property
    def alive(self) -> bool:
        return super().alive and not self._over and self._receives

    @property
    def beginnings(self) -> int:
        return self._beginnings

    @property
    def gives_up(self) -> bool:
        return self._closing or not self._receives

    async def close(self, *, drain: float = 10.0) -> None:
        try:
            await super().close(drain=drain)
        finally:
            if self._session is not None:
                await self._session.end()

    async def verify(self, consumers: Callable[[str], Awaitable[int]]) -> None:
        """Asks the broker whether it knows that we receive; if it does not, begins anew."""
        session = self._session
        if session is None or session.lost or await self._is_known(session, consumers):
            return
        if session.lost or self._closing:
            return  # It was given up while the broker was asked.
        unknown = BusUnavailable(f"{self.name} is not known to receive")
        log.error("the broker does not know that %s receives; it begins anew", self.name, extra=waiting(unknown))
        session.lose()

    async def _is_known(self, session: Session, consumers: Callable[[str], Awaitable[int]]) -> bool:
        return await session.answers() and await consumers(self.queue) > 0
