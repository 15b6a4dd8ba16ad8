"""Who else is on the broker, and whether all use the same object store.

Services that do not would wait for each other for ever: what one has stored, the other does not find.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from messages.base import Event
from messages.services import ServiceHeartbeat
from shared.service import Platform, Service
from voxloom.ids import new_id

PATTERN = "service.heartbeat.#"
BEAT_SECS = 30.0
LEAST_SECS = 0.2
"""Between two heartbeats, however many ask."""
KEPT_SECS = 3.5 * BEAT_SECS
"""Who was not heard for so long is gone."""


class Neighbours(Service):
    """Runs beside the services of a process. What it finds out is in the platform's `strangers`."""

    name = "neighbours"

    def __init__(self, platform: Platform, services: Sequence[str]) -> None:
        super().__init__(platform)
        self.instance = new_id()
        self._services = list(services)
        self._heard: dict[str, float] = {}
        self._asked = asyncio.Event()

    async def on_start(self) -> None:
        self.keep(await self.bus.listen([PATTERN], self._hear))
        self.spawn("beat", self._beat())

    async def _beat(self) -> None:
        while True:
            self._asked.clear()
            self.bus.announce(heartbeat(self.instance, self._services, self.platform.strangers.mark))
            self._forget(time.monotonic() - KEPT_SECS)
            await asyncio.sleep(LEAST_SECS)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECS):
                    await self._asked.wait()

    def _hear(self, event: Event) -> None:
        if not isinstance(event, ServiceHeartbeat) or event.subject == self.instance:
            return
        now = time.monotonic()
        if event.subject not in self._heard:
            self._asked.set()
        self._heard[event.subject] = now
        if (fault := self.platform.strangers.hear(event, now)) is not None:
            self.log.error("%s", fault)

    def _forget(self, before: float) -> None:
        self._heard = {subject: moment for subject, moment in self._heard.items() if moment >= before}
        self.platform.strangers.forget(before)


def heartbeat(instance: str, services: Sequence[str], mark: str) -> ServiceHeartbeat:
    return ServiceHeartbeat(
        subject=instance, services=list(services), store=mark, host=socket.gethostname(), pid=os.getpid()
    )
