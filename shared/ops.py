"""What supervisors and Prometheus ask any process of the system: whether it lives, whether it can work, its figures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from shared.listening import Site
from shared.service import Platform, Service
from voxloom.errors import Misconfigured, Unavailable
from voxloom.models import Problem, ResponseMessage

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HEALTH_SECS = 5.0


async def answers(health: Awaitable[bool]) -> bool:
    """Whether something says in time that it is well."""
    try:
        async with asyncio.timeout(HEALTH_SECS):
            return await health
    except (Unavailable, TimeoutError):
        return False


async def platform_faults(platform: Platform) -> list[str]:
    """What is wrong with what a process stands on; nothing when all is well."""
    bus, store = await asyncio.gather(answers(platform.bus.healthy()), answers(platform.store.healthy()))
    await platform.room.look()
    full = [platform.room.fault] if platform.room.fault else []
    checks = {
        "the broker does not answer, takes nothing, or has lost one of our subscriptions": bus,
        "the object store does not answer": store,
    }
    complaints = {platform.bus.complaint(), platform.store.complaint()} - {None}
    unwell = [fault for fault, well in checks.items() if not well]
    return full + unwell + sorted(filter(None, complaints)) + platform.strangers.doubts()


class Ops:
    """Serves /livez, /readyz and /metrics of a process, beside whatever else it does.

    `services` is looked at anew for every answer. A process that still starts is alive, and not ready.
    """

    def __init__(self, platform: Platform, services: Sequence[Service]) -> None:
        self._platform = platform
        self._services = services
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._ready = Gauge(
            "voxloom_service_ready",
            "Whether a service of this process can work.",
            ("service",),
            registry=self._registry,
        )
        self._figures: dict[str, Gauge] = {}
        app = web.Application()
        app.add_routes(
            [web.get("/livez", _alive), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self) -> None:
        """Raises Misconfigured where the address cannot be listened on."""
        host, port = self._platform.settings.ops_host, self._platform.settings.ops_port
        await self._runner.setup()
        try:
            await Site(self._runner, host, port).start()
        except OSError as error:
            raise Misconfigured(
                f"Port {port} on {host} cannot be listened on ({error.strerror or error}); "
                "choose another with VOXLOOM_OPS_PORT (0 takes a free one), or stop what uses it."
            ) from error

    @property
    def port(self) -> int:
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def faults(self) -> list[str]:
        found = await platform_faults(self._platform)
        if not self._services:
            found.append("no service has started yet")
        return found + [f"the {one.name} no longer hears what is said" for one in self._services if not one.ready]

    async def _readyz(self, _: web.Request) -> web.Response:
        faults = await self.faults()
        if not faults:
            return _json(ResponseMessage(detail="ready"), 200)
        text = f"This process cannot do its work now: {'; '.join(faults)}."
        problem = Problem(title="Service Unavailable", status=503, detail=text, code="not_ready", retryable=True)
        return _json(problem, 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        for service in self._services:
            self._ready.labels(service.name).set(service.ready)
            for name, value in service.figures().items():
                self._figure(name).set(value)
        for name, value in self._platform.room.figures._asdict().items():
            self._figure(f"disk_{name}" if name == "short" else f"disk_{name}_bytes").set(value)
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": METRICS_TYPE})

    def _figure(self, name: str) -> Gauge:
        if name not in self._figures:
            self._figures[name] = Gauge(f"voxloom_{name}", name.replace("_", " "), registry=self._registry)
        return self._figures[name]


async def _alive(_: web.Request) -> web.Response:
    return _json(ResponseMessage(detail="alive"), 200)


def _json(body: ResponseMessage | Problem, status: int) -> web.Response:
    kind = "application/json" if isinstance(body, ResponseMessage) else "application/problem+json"
    return web.Response(body=body.model_dump_json(exclude_none=True).encode(), status=status, content_type=kind)
