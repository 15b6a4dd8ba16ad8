"""A gateway in a process of its own that is killed just before or after it has published an event of some kind:

`python -m tests.contract.gateway_process FOLDER KIND before|after` prints its address.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from messages.base import Event
from services.gateway.service import Gateway
from shared.bus import topology
from shared.bus.local import LocalBus
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from tests.given import Given


class FatalBus(LocalBus):
    def __init__(self, folder: Path, kind: str, moment: str) -> None:
        super().__init__(folder)
        self._kind = kind
        self._moment = moment

    async def publish(self, *events: Event) -> None:
        fatal = any(event.kind.name == self._kind for event in events)
        if not (fatal and self._moment == "before"):
            await super().publish(*events)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, kind: str, moment: str) -> None:
    bus, store = FatalBus(folder / "bus", kind, moment), LocalObjectStore(folder / "objects")
    await bus.open()
    await bus.declare(*topology.ALL)
    await store.open()
    gateway = Gateway(Platform(bus=bus, store=store, settings=Given(data=folder, port=0)))
    await gateway.start()
    sys.stdout.write(f"{gateway.url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
