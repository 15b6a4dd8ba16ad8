"""All services in one process, on the embedded bus and store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence

from services.deployer.service import Deployer
from services.gateway.service import Gateway
from services.ingest.service import Ingest
from services.recorder.service import Recorder
from services.scheduler.service import Scheduler
from services.worker.service import Worker
from shared.bus import topology
from shared.bus.local import LocalBus
from shared.objects import signed
from shared.objects.local import LocalObjectStore
from shared.service import Platform, Service
from shared.settings import Settings

log = logging.getLogger("voxloom.up")

BEHIND_THE_GATEWAY: Sequence[type[Service]] = (Recorder, Scheduler, Ingest, Deployer, Worker)
"""In the order in which they start: who is asked comes before who asks, so the gateway is the last. They stop in the
opposite order."""

STOP_SECS = 10.0
"""How long one service may take to stop; a worker gets its drain and grace, and time to say goodbye, on top."""
GOODBYE_SECS = 15.0
WATCH_SECS = 0.2
"""How often it is looked whether all services still live."""


class ServiceDied(Exception):
    """A part of the system is dead, so the whole must not live on."""


class System:
    """The services of one process and what they stand on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exits = contextlib.AsyncExitStack()
        self.services: list[Service] = []
        self.url = ""

    async def start(self) -> None:
        """Opens bus and store, then starts every service. If one cannot start, what runs is for `stop` to end."""
        store = LocalObjectStore(self._settings.data / "objects")
        platform = Platform(bus=await self._open_bus(), store=store, settings=self._settings)
        await self._open_store(store)
        for kind in BEHIND_THE_GATEWAY:
            await self._run(kind(platform))
        gateway = Gateway(platform, routes=signed.routes(store, limit=self._settings.max_file_bytes))
        await self._run(gateway)
        self.url = store.public_url = gateway.url

    async def _run(self, service: Service) -> None:
        self._exits.push_async_callback(self._stop, service)
        await service.start()
        self.services.append(service)

    async def _open_bus(self) -> LocalBus:
        settings = self._settings
        bus = LocalBus(settings.data / "bus", stream_hours=settings.stream_hours, stream_bytes=settings.stream_bytes)
        await bus.open()
        self._exits.push_async_callback(bus.close)
        await bus.declare(*topology.ALL)
        return bus

    async def _open_store(self, store: LocalObjectStore) -> None:
        await store.open()
        self._exits.push_async_callback(store.close)
        for collection, days in expiries(self._settings).items():
            await store.set_expiry(collection, days)

    async def _stop(self, service: Service) -> None:
        settings = self._settings
        extra = settings.drain + settings.grace + GOODBYE_SECS if isinstance(service, Worker) else 0.0
        try:
            await asyncio.wait_for(service.stop(), STOP_SECS + extra)
        except TimeoutError:
            log.error("%s did not stop within %.0f s and is left behind", service.name, STOP_SECS + extra)
        except Exception:
            # The others have to stop all the same.
            log.exception("%s did not stop in good order", service.name)

    async def failure(self) -> None:
        """Never returns; raises ServiceDied once a service has failed, or hears nothing any more."""
        while True:
            for service in self.services:
                if service.failed.done() and not service.failed.cancelled():
                    error = service.failed.exception()
                    raise ServiceDied(f"the {service.name} ({str(error).rstrip('.')})") from error
                if not service.ready:
                    raise ServiceDied(f"the {service.name} (it no longer hears what is said)")
            await asyncio.sleep(WATCH_SECS)

    async def stop(self) -> None:
        await self._exits.aclose()


def expiries(settings: Settings) -> dict[str, float | None]:
    """Days after which what is tagged as expiring goes, by collection."""
    return {
        "data-store": settings.data_expire_days,
        "execution-store": settings.execution_expire_days,
        "training-store": settings.training_expire_days,
        "deploy-store": settings.deploy_expire_days,
    }


async def run(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Runs the system until SIGTERM or SIGINT; a second signal does not wait for running work.

    Raises what kept it from starting, or ServiceDied, after all that ran was stopped.
    """
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    system = System(settings)
    asked = asyncio.create_task(signals.get(), name="up.asked")
    failure = asyncio.create_task(system.failure(), name="up.failure")
    try:
        if await _start(system, asked, failure):
            on_ready(system.url)
            await asyncio.wait({asked, failure}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        failure.cancel()
        await asyncio.gather(asked, failure, return_exceptions=True)
        await _stop_or_hurry(system, signals)
    if not failure.cancelled():
        failure.result()


async def _start(system: System, *enough: asyncio.Task[None]) -> bool:
    """Whether the system has started before something came up that makes it stop."""
    starting = asyncio.create_task(system.start(), name="up.start")
    try:
        await asyncio.wait({starting, *enough}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        return starting.done()
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def _stop_or_hurry(system: System, signals: asyncio.Queue[None]) -> None:
    log.info("stopping: new work is refused, running work may go on for a while")
    stopping = asyncio.create_task(system.stop(), name="up.stop")
    hurry = asyncio.create_task(signals.get(), name="up.hurry")
    await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        log.warning("asked twice: running work is given back now")
        for service in system.services:
            if isinstance(service, Worker):
                service.hurry()
    hurry.cancel()
    await stopping
