"""A gateway on a real bus and store, and what the other services would say to it."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from messages.base import DEFAULT_PROJECT, Event
from messages.deploys import (
    AlgorithmDeleted,
    AlgorithmDeleteRequested,
    DeployCompleted,
    DeployFailed,
    DeployRequested,
    DeployStarted,
)
from messages.files import FileCommitted, FileDeleted, FileDeleteRequested, FileRejected, FileUploaded
from messages.runs import (
    Result,
    RunAssigned,
    RunCompleted,
    RunHandedOver,
    RunLogged,
    RunProgressed,
    RunRequested,
    RunStarted,
)
from services.gateway.app import describe
from services.gateway.http import callers
from services.gateway.service import Gateway
from shared import algorithms
from shared.bus import topology
from shared.bus.local import LocalBus
from shared.files import COLLECTION, FileEntry, bytes_key, commit, find_entry, remove
from shared.objects import signed
from shared.objects.base import ObjectStore
from shared.objects.local import LocalObjectStore
from shared.service import Platform
from shared.versions import Content, Deploy
from tests.acceptance.openapi_check import OpenApiCheck
from tests.given import Given
from tests.polling import pauses
from voxloom.ids import new_id
from voxloom.manifest import Manifest
from voxloom.models import RunError, utc_now

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 40
"""Begins as HDF5 does; whether it goes on so is for others to find out."""


class World:
    """Answers uploads, deletions and deploys as ingest and deployer would; runs move only when a test says so."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.bus = platform.bus
        self.store = platform.store
        routes = signed.routes(platform.store) if isinstance(platform.store, LocalObjectStore) else []
        self.gateway = Gateway(platform, routes=routes)
        self.reject: RunError | None = None
        """What every upload and deploy is refused with."""
        self.silent = False
        self.heard: list[Event] = []
        self.headers: dict[str, str] = {}
        """What the world itself shows, where the gateway asks who it is."""

    # --- the others ---------------------------------------------------------------------------------------

    async def ingest(self, events: Sequence[Event]) -> None:
        self.heard += events
        for event in events:
            if not self.silent:
                await self._ingest(event)

    async def _ingest(self, event: Event) -> None:
        if isinstance(event, FileUploaded) and self.reject is not None:
            await remove(self.store, event.subject)
            await self.bus.publish(FileRejected(subject=event.subject, error=self.reject))
        elif isinstance(event, FileUploaded):
            if event.staged and await find_entry(self.store, event.subject) is None:
                data = await self.store.get(COLLECTION, event.staged)
                await self.store.put(COLLECTION, bytes_key(event.subject), data, metadata={"project": event.project})
                await self.store.delete(COLLECTION, event.staged)
            facts: dict[str, Any] = {"size": event.size, "etag": event.etag, "datasets": []}
            facts |= {"project": event.project}
            await commit(self.store, FileEntry(file_id=event.subject, time=utc_now(), **facts))
            await self.bus.publish(FileCommitted(subject=event.subject, **facts))
        elif isinstance(event, FileDeleteRequested):
            await remove(self.store, event.subject)
            await self.bus.publish(FileDeleted(subject=event.subject, project=event.project))

    async def deployer(self, events: Sequence[Event]) -> None:
        self.heard += events
        for event in events:
            if not self.silent:
                await self._deployer(event)

    async def _deployer(self, event: Event) -> None:
        if isinstance(event, AlgorithmDeleteRequested):
            await algorithms.remove(self.store, event.subject, event.minor, regardless=event.regardless)
            facts: dict[str, Any] = {"project": event.project, "request_id": event.id, "minor": event.minor}
            await self.bus.publish(AlgorithmDeleted(subject=event.subject, **facts))
        elif isinstance(event, DeployRequested) and self.reject is not None:
            await self.bus.publish(DeployFailed(subject=event.subject, project=event.project, error=self.reject))
        elif isinstance(event, DeployRequested):
            await self.bus.publish(DeployStarted(subject=event.subject, project=event.project))
            name = event.overrides.algorithm_name or "Denoise"
            await self.deploy(event.subject, project=event.project, name=name)

    async def deploy(self, deploy_id: str = "", *, project: str = DEFAULT_PROJECT, **manifest: Any) -> str:
        """An algorithm as the deployer stores it; its id."""
        deploy_id = deploy_id or new_id()
        given = {"name": "Denoise", "major": "1", "minor": "0", **manifest}
        content = Content(module=f"m-{deploy_id}", assets="a", module_bytes=10, asset_bytes=20, asset_count=1)
        deploy = Deploy(deploy_id, project, Manifest(**given), content, utc_now())
        deployed = await algorithms.add_minor(self.store, deploy)
        entry = deployed.entry
        await self.bus.publish(
            DeployCompleted(
                subject=deploy_id,
                project=project,
                algorithm_id=entry.algorithm_id,
                algorithm_name=entry.name,
                algorithm_major_version=entry.major,
                algorithm_minor_version=deployed.minor,
                changed=deployed.changed,
            )
        )
        await self.settled()
        return entry.algorithm_id

    # --- runs ---------------------------------------------------------------------------------------------

    async def assign(self, run: str, attempt: int = 1) -> None:
        facts: dict[str, Any] = {"subject": run, "attempt": attempt, "epoch": 1, "worker_id": "w"}
        facts |= {"incarnation": f"i{attempt}", "device_class": "cpu", "project": self.request_of(run).project}
        work = self.request_of(run).work
        await self.bus.publish(RunAssigned(**facts), RunHandedOver(**facts, work=work))

    async def start(self, run: str, attempt: int = 1) -> None:
        await self.assign(run, attempt)
        await self.bus.publish(
            RunStarted(
                subject=run,
                project=self.request_of(run).project,
                attempt=attempt,
                epoch=1,
                worker_id="w",
                incarnation=f"i{attempt}",
                device_class="cpu",
                device="cpu",
            )
        )
        await self.settled()

    async def complete(self, run: str, attempt: int = 1, **result: Any) -> None:
        end = Result(**{"device": "cpu", **result})
        facts: dict[str, Any] = {"attempt": attempt, "epoch": 1, "worker_id": "w"}
        await self.bus.publish(RunCompleted(subject=run, project=self.project_of(run), **facts, result=end))

    def progress(self, run: str, progress: float, attempt: int = 1) -> None:
        self.bus.announce(RunProgressed(subject=run, attempt=attempt, progress=progress))

    def log(self, run: str, offset: int, text: str, attempt: int = 1) -> None:
        self.bus.announce(RunLogged(subject=run, attempt=attempt, offset=offset, text=text))

    async def scheduler(self, events: Sequence[Event]) -> None:
        self.heard += events

    def project_of(self, run: str) -> str:
        """Which asked for it; the usual one where it was not asked for here."""
        asked = (event.project for event in self.heard if isinstance(event, RunRequested) and event.subject == run)
        return next(asked, DEFAULT_PROJECT)

    def request_of(self, run: str) -> RunRequested:
        return next(event for event in self.heard if isinstance(event, RunRequested) and event.subject == run)

    async def settled(self) -> None:
        """Returns when the gateway has heard all that was said so far: it waits for what is young before a 404."""
        project = self.headers.get("Voxloom-Project") or callers.everybody(cast(Any, None)).project
        marker = DeployStarted(subject=new_id(), project=project)
        await self.bus.publish(marker)
        async with httpx.AsyncClient(base_url=self.gateway.url, headers=self.headers) as client:
            (await client.get(f"/api/v0/deploy/{marker.subject}")).raise_for_status()


async def eventually(condition: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    for pause in pauses(0.005, 0.1):
        if await condition():
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not happen within {within} s")
        await asyncio.sleep(pause)


@asynccontextmanager
async def platform_at(folder: Path, *, on: ObjectStore | None = None, **settings: Any) -> AsyncIterator[Platform]:
    """`on`: a store that is not open yet, in place of the embedded one."""
    bus, store = LocalBus(folder / "bus"), on or LocalObjectStore(folder / "objects")
    await bus.open()
    await bus.declare(*topology.ALL)
    await store.open()
    try:
        yield Platform(bus=bus, store=store, settings=Given(**{"data": folder, "port": 0, **settings}))
    finally:
        await bus.close()
        await store.close()


@asynccontextmanager
async def world_at(folder: Path, **settings: Any) -> AsyncIterator[World]:
    async with platform_at(folder, **settings) as platform, world_on(platform) as world:
        yield world


@asynccontextmanager
async def world_on(platform: Platform) -> AsyncIterator[World]:
    world = World(platform)
    subscriptions = [
        await platform.bus.consume(topology.INGEST, world.ingest),
        await platform.bus.consume(topology.DEPLOYER, world.deployer),
        await platform.bus.consume(topology.SCHEDULER, world.scheduler),
    ]
    await world.gateway.start()
    assert isinstance(platform.store, LocalObjectStore)
    platform.store.public_url = world.gateway.url
    try:
        yield world
    finally:
        await world.gateway.stop()
        for subscription in subscriptions:
            await subscription.close()


@asynccontextmanager
async def client_of(world: World, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Every response is checked against the server's own OpenAPI document."""
    hooks = {"response": [openapi_check().acheck]}
    async with httpx.AsyncClient(base_url=world.gateway.url, timeout=60, event_hooks=hooks, **options) as client:
        yield client


@functools.cache
def openapi_check() -> OpenApiCheck:
    """With the document that each gateway of this process serves."""
    return OpenApiCheck(json.loads(describe().openapi))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Of whatever `world` the tests have."""
    async with client_of(world) as client:
        yield client
