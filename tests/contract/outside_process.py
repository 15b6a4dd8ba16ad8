"""A gateway in a process of its own that is killed just before or after it has asked for a run:

`python -m tests.contract.outside_process FOLDER BROKER OUTSIDE before|after`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from messages.base import Event
from services.gateway.service import Gateway
from shared.bus.rabbit import RabbitBus
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from tests.given import Given


class FatalBus(RabbitBus):
    def __init__(self, url: str, moment: str) -> None:
        super().__init__(url)
        self._moment = moment

    async def publish(self, *events: Event) -> None:
        fatal = any(event.kind.name == "execution.requested" for event in events)
        if not (fatal and self._moment == "before"):
            await super().publish(*events)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, broker: str, outside: str, moment: str) -> None:
    bus, store = FatalBus(broker, moment), LocalObjectStore(folder / "objects")
    await bus.open()
    await store.open()
    settings = Given(data=folder, port=0, broker=broker, outside=outside)
    await Gateway(Platform(bus=bus, store=store, settings=settings)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
