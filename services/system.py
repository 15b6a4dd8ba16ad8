"""The services of one process, and what they stand on: they come up together or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
from collections.abc import Callable, Mapping, Sequence

from shared import platform, process_numbers
from shared.bus import topology
from shared.bus.base import Bus
from shared.neighbours import Neighbours
from shared.objects import signed
from shared.objects.base import COLLECTIONS, ObjectStore
from shared.ops import Ops
from shared.outages import Outage
from shared.records.registry import KINDS as RECORD_KINDS
from shared.room import Room
from shared.service import MadeWay, Platform, Service
from shared.settings import Settings
from shared.strangers import Strangers
from voxloom.backoff import Backoff
from voxloom.errors import InvalidInput, Misconfigured, StoreFull, Unavailable

log = logging.getLogger("voxloom.system")

KINDS: Mapping[str, str] = {
    "recorder": "Recorder",
    "scheduler": "Scheduler",
    "ingest": "Ingest",
    "deployer": "Deployer",
    "worker": "Worker",
    "gateway": "Gateway",
}
"""The classes of the services, in the order in which they start: who is asked comes before who asks, so the gateway is
the last. They stop in the opposite order."""

STOP_SECS = 10.0
"""How long one service may take to stop; a worker gets its drain and grace, and time to say goodbye, on top."""
GOODBYE_SECS = 15.0
WATCH_SECS = 0.2
"""How often it is looked whether all services still live."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Between two tries to start on a broker or a store that does not answer."""


class ServiceDied(Exception):
    """A part of the system is dead, so the whole must not live on."""


def chosen(names: Sequence[str]) -> list[type[Service]]:
    """The services of these names, in the order in which they start. Raises InvalidInput for a name there is not."""
    for name in names:
        if name not in KINDS:
            raise InvalidInput(f"There is no service {name!r}; choose among {', '.join(KINDS)}.")
    return [_kind(name) for name in KINDS if name in names]


def _kind(name: str) -> type[Service]:
    """A process brings in only what it runs."""
    kind: type[Service] = getattr(importlib.import_module(f"services.{name}.service"), KINDS[name])
    return kind


class ServiceLeft(ServiceDied):
    """A service has made way for another one, and nothing is wrong: a supervisor starts the process again."""


class System:
    """The services of one process and what they stand on."""

    def __init__(self, settings: Settings, kinds: Sequence[type[Service]]) -> None:
        self._settings = settings
        self._kinds = kinds
        self._exits = contextlib.AsyncExitStack()
        self.services: list[Service] = []
        self._neighbours: Neighbours | None = None
        self.url = ""
        """Where the gateway is reached, if there is one."""

    async def start(self) -> None:
        """Opens bus and store, then starts every service. If one cannot start, what runs is for `stop` to end."""
        settings = self._settings
        for kind in self._kinds:
            kind.check(settings)
        if not settings.whole:
            settings = settings.model_copy(update={"worker_id": await self._own_name(settings)})
        room = await self._open_room(settings)
        bus = await self._open_bus(settings)
        store = await self._open_store(settings)
        strangers = Strangers(await _mark_of(store) if settings.broker else "")
        base = Platform(bus=bus, store=store, settings=settings, room=room, strangers=strangers)
        room.on_short = store.shed
        if settings.ops_port is not None:
            await self._show(Ops(base, self.services))
        if settings.broker:
            await self._meet(Neighbours(base, [kind.name for kind in self._kinds]))
        for kind in self._kinds:
            await self._run(self._make(kind, base))

    async def _own_name(self, settings: Settings) -> str:
        """Workers that share a node, and were not given names, are told apart."""
        if "worker_id" in settings.model_fields_set or not any(kind.runs_work for kind in self._kinds):
            return settings.worker_id
        seat = await asyncio.to_thread(process_numbers.take, settings.data / "workers")
        self._exits.callback(seat.leave)
        return settings.worker_id if seat.number == 1 else f"{settings.worker_id}-{seat.number}"

    def _make(self, kind: type[Service], base: Platform) -> Service:
        if kind.name == "gateway" and (served := base.store.served) is not None:
            from services.gateway.service import Gateway

            return Gateway(base, routes=signed.routes(served, limit=self._settings.max_file_bytes, room=base.room))
        return kind(base)

    async def _run(self, service: Service) -> None:
        self._exits.push_async_callback(self._stop, service)
        await service.start()
        self.services.append(service)
        if service.url:
            self.url = service.url
            if (served := service.store.served) is not None:
                served.public_url = service.url

    async def _meet(self, neighbours: Neighbours) -> None:
        self._exits.push_async_callback(self._stop, neighbours)
        await neighbours.start()
        self._neighbours = neighbours

    async def _show(self, ops: Ops) -> None:
        self._exits.push_async_callback(ops.stop)
        await ops.start()

    async def _open_room(self, settings: Settings) -> Room:
        """Before all else: what it gives up lets the others start on a full disk."""
        room = platform.make_room(settings)
        self._exits.push_async_callback(room.close)
        try:
            await room.open()
        except OSError as error:
            raise Misconfigured(
                f"The folder {settings.data} cannot be used ({error.strerror or error}); make it writable for this "
                "user, or choose another one with --data."
            ) from error
        return room

    async def _open_bus(self, settings: Settings) -> Bus:
        bus = platform.make_bus(settings)
        self._exits.push_async_callback(bus.close)
        await bus.open()
        await bus.declare(*topology.ALL)
        return bus

    async def _open_store(self, settings: Settings) -> ObjectStore:
        store = platform.make_store(settings)
        self._exits.push_async_callback(store.close)
        await store.open()
        if any(kind.keeps_house for kind in self._kinds):
            for collection, days in expiries(settings).items():
                await store.set_expiry(collection, days)
        return store

    async def _stop(self, service: Service) -> None:
        settings = self._settings
        extra = settings.drain + settings.grace + GOODBYE_SECS if service.runs_work else 0.0
        try:
            async with asyncio.timeout(STOP_SECS + extra):
                await service.stop()
        except TimeoutError:
            log.error("%s did not stop within %.0f s and is left behind", service.name, STOP_SECS + extra)
        except Exception:
            # The others have to stop all the same.
            log.exception("%s did not stop in good order", service.name)

    async def failure(self) -> None:
        """Never returns; raises ServiceDied once a service has failed, or hears nothing any more."""
        while True:
            for service in (*self.services, *filter(None, [self._neighbours])):
                if service.failed.done() and not service.failed.cancelled():
                    error = service.failed.exception()
                    kind = ServiceLeft if isinstance(error, MadeWay) else ServiceDied
                    raise kind(f"the {service.name} ({str(error).rstrip('.')})") from error
                if not service.ready and not service.bus.reconnects:
                    raise ServiceDied(f"the {service.name} (it no longer hears what is said)")
            await asyncio.sleep(WATCH_SECS)

    async def stop(self) -> None:
        await self._exits.aclose()


async def _mark_of(store: ObjectStore) -> str:
    """Empty where there is no room for one: that is told elsewhere, and is no reason not to start."""
    try:
        return await store.mark()
    except StoreFull:
        return ""


def expiries(settings: Settings) -> dict[str, float | None]:
    """Days after which what is tagged as expiring goes, by collection; None: never. What a crash has left of an upload
    goes in any."""
    return {
        **dict.fromkeys(COLLECTIONS),
        **{kind.collection: kind.expiry(settings) for kind in RECORD_KINDS},
        "data-store": settings.data_expire_days,
        "execution-store": settings.execution_expire_days,
        "benchmark-store": settings.execution_expire_days,
        "training-store": settings.training_expire_days,
    }


async def run(settings: Settings, kinds: Sequence[type[Service]], on_ready: Callable[[str], None]) -> None:
    """Runs services until SIGTERM or SIGINT; a second signal does not wait for running work. Where broker or store are
    other machines' and do not answer, it tries to start until they do.

    Raises what kept it from starting, or ServiceDied, after all that ran was stopped.
    """
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    asked = asyncio.create_task(signals.get(), name="system.asked")
    try:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        outage = Outage(log, "cannot start yet, and tries again", "could start")

        def ready(url: str) -> None:
            outage.over()
            on_ready(url)

        while not asked.done():
            try:
                await _live(System(settings, kinds), asked, signals, ready)
                return
            except Unavailable as error:
                if settings.whole:
                    raise
                outage.failed(error)
            await asyncio.wait({asked}, timeout=backoff.next())
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def _live(
    system: System, asked: asyncio.Task[None], signals: asyncio.Queue[None], on_ready: Callable[[str], None]
) -> None:
    """One life, from the start to the stop."""
    failure = asyncio.create_task(system.failure(), name="system.failure")
    try:
        if await _start(system, asked, failure):
            on_ready(system.url)
            await asyncio.wait({asked, failure}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        failure.cancel()
        await asyncio.gather(failure, return_exceptions=True)
        await _stop_or_hurry(system, signals)
    if not failure.cancelled():
        failure.result()


async def _start(system: System, *enough: asyncio.Task[None]) -> bool:
    """Whether the system has started before something came up that makes it stop."""
    starting = asyncio.create_task(system.start(), name="system.start")
    try:
        await asyncio.wait({starting, *enough}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        return starting.done()
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


async def _stop_or_hurry(system: System, signals: asyncio.Queue[None]) -> None:
    if system.services:
        log.info("stopping: new work is refused, running work may go on for a while")
    stopping = asyncio.create_task(system.stop(), name="system.stop")
    hurry = asyncio.create_task(signals.get(), name="system.hurry")
    await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        log.warning("asked twice: running work is given back now")
        for service in system.services:
            service.hurry()
    hurry.cancel()
    await stopping
