"""One connection to the broker that comes back whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiormq.abc import AbstractChannel, AbstractConnection

from shared.bus.amqp.address import Address
from shared.bus.amqp.failures import closed, translating
from shared.bus.amqp.frames import Connection
from shared.outages import Outage
from voxloom.backoff import Backoff
from voxloom.errors import BusUnavailable, VoxloomError

CONNECT_SECS = 10.0
CHANNEL_SECS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
PROBE_SECS = 2.0

log = logging.getLogger("voxloom.bus")

Prepare = Callable[[AbstractConnection], Awaitable[None]]


class Link:
    """`prepare` is called with every new connection before anybody else gets it."""

    def __init__(self, address: Address, purpose: str, outage: Outage, prepare: Prepare | None = None) -> None:
        self._address = address
        self.purpose = purpose
        self._outage = outage
        self._prepare = prepare
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def shown(self) -> str:
        return self._address.shown

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    async def open(self) -> None:
        """Raises BusUnavailable, or Misconfigured where waiting cannot help."""
        connection = await self._connect()
        self._keeper = asyncio.create_task(self._keep(connection), name=f"bus.link.{self.purpose}")
        self._keeper.add_done_callback(_on_keeper_done)

    async def close(self) -> None:
        if self._keeper is None:
            return
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._keeper = None

    async def channel(self, *, confirms: bool = False, within: float = CHANNEL_SECS) -> AbstractChannel:
        """A new channel, on the connection there is or the next one. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(within):
                while True:
                    connection = await self._current()
                    try:
                        with translating(self.shown):
                            return await connection.channel(publisher_confirms=confirms)
                    except BusUnavailable:
                        if connection is self._connection and connection.is_opened:
                            raise
                        await asyncio.sleep(FIRST_PAUSE)
        except TimeoutError as error:
            raise BusUnavailable(f"The broker at {self.shown} does not answer.") from error

    async def _current(self) -> AbstractConnection:
        if self._keeper is None or self._keeper.done():
            raise closed()
        await self._up.wait()
        assert self._connection is not None
        return self._connection

    async def answers(self) -> bool:
        """Whether the broker reads what comes over this connection: it does not from publishers while it is short of
        memory or disk."""
        if not self.connected or self._connection is None:
            return False
        try:
            async with asyncio.timeout(PROBE_SECS):
                with translating(self.shown):
                    await self._connection.ready()
                    channel = await self._connection.channel(publisher_confirms=False)
                    await channel.close()
        except (VoxloomError, TimeoutError):
            return False
        return True

    async def _connect(self) -> AbstractConnection:
        await asyncio.to_thread(self._address.check_files)
        with translating(self._address.shown, self._address.doubt):
            connecting = Connection(self._address.url, client_properties=self._properties())
            try:
                async with asyncio.timeout(CONNECT_SECS):
                    await connecting.connect()
                    if self._prepare is not None:
                        await self._prepare(connecting)
            except BaseException:
                await _closed(connecting)
                raise
        self._connection = connecting
        self._up.set()
        return connecting

    def _properties(self) -> dict[str, Any]:
        return {"connection_name": f"voxloom {self.purpose}", "pid": os.getpid()}

    async def _keep(self, connection: AbstractConnection) -> None:
        try:
            while True:
                await _until_closed(connection)
                self._up.clear()
                self._outage.failed(f"the connection to {self.shown} is lost", self.purpose)
                connection = await self._reconnect()
                self._outage.over(self.purpose)
        finally:
            self._up.clear()
            await _closed(connection)

    async def _reconnect(self) -> AbstractConnection:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            await asyncio.sleep(backoff.next())
            try:
                return await self._connect()
            except VoxloomError as error:
                self._outage.failed(error, self.purpose)


def _on_keeper_done(keeper: asyncio.Task[None]) -> None:
    if not keeper.cancelled() and (error := keeper.exception()) is not None:
        log.critical("the connection to the broker is kept up no more", exc_info=error)


async def _until_closed(connection: AbstractConnection) -> None:
    await asyncio.wait([connection.closing])


async def _closed(connection: AbstractConnection) -> None:
    if not hasattr(connection, "_reader_task"):
        return  # It has never been open.
    try:
        async with asyncio.timeout(CONNECT_SECS):
            with translating("the broker"):
                await connection.close()
    except (VoxloomError, TimeoutError) as error:
        log.debug("the connection was closed already: %s", error)
