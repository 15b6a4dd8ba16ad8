"""A gateway that asks who people are, with people of all kinds in two projects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.control.objects import Admins, ControlObject, Member, Principal, Project, Role, Token
from shared.control.store import ControlStore
from shared.control.tokens import digest_of, mint
from tests.contract.gateway_world import World, openapi_check, platform_at, world_on
from voxloom.models import utc_now

ROLES: dict[str, tuple[str, Role]] = {
    "vera": ("lab1", "viewer"),
    "mia": ("lab1", "member"),
    "max": ("lab1", "manager"),
    "olga": ("lab2", "manager"),
}
"""People, each in one project."""
MADE: dict[str, Any] = {"created_at": utc_now() - timedelta(days=1), "created_by": "root"}


@dataclass
class People:
    """The text of a token for each; and of some that are good for nothing."""

    tokens: dict[str, str] = field(default_factory=dict)
    objects: list[ControlObject] = field(default_factory=list)

    def add(self, name: str, owner: str | None = None, **facts: Any) -> None:
        made = mint()
        given = {"expires_at": utc_now() + timedelta(hours=1), **MADE, **facts}
        self.objects.append(Token(id=made.id, principal=owner or name, digest=digest_of(made.text), **given))
        self.tokens[name] = made.text

    def id_of(self, name: str) -> str:
        return self.tokens[name].split("_")[1]


def people() -> People:
    found = People()
    found.objects += [Admins(principals=("root",)), *(Project(id=one, **MADE) for one in ("lab1", "lab2"))]
    for name in ("root", *ROLES):
        found.objects.append(Principal(id=name, **MADE))
        found.add(name)
    for name, (project, role) in ROLES.items():
        found.objects.append(Member(project=project, principal=name, role=role, **MADE))
    found.add("expired", "mia", expires_at=utc_now() - timedelta(minutes=1))
    found.add("revoked", "mia", revoked_at=utc_now())
    found.tokens["unknown"] = mint().text
    return found


async def keep(store: ControlStore, objects: Iterable[ControlObject]) -> None:
    for one in objects:
        await store.put(one)


@dataclass
class Closed:
    world: World
    people: People
    control: ControlStore

    @asynccontextmanager
    async def asking(self, name: str | None, *, url: str = "", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """Every response is checked against the server's own OpenAPI document."""
        sent = headers if name is None else {"Authorization": f"Bearer {self.people.tokens[name]}", **headers}
        hooks = {"response": [openapi_check().acheck]}
        async with httpx.AsyncClient(
            base_url=url or self.world.gateway.url, timeout=60, headers=sent, event_hooks=hooks
        ) as client:
            yield client

    async def status(self, name: str | None, method: str = "GET", path: str = "/api/v1/executions", **more: Any) -> int:
        async with self.asking(name) as client:
            return (await client.request(method, path, **more)).status_code


@asynccontextmanager
async def closed_at(folder: Path, **settings: Any) -> AsyncIterator[Closed]:
    async with platform_at(folder, auth="closed", **settings) as platform:
        everybody, control = people(), ControlStore(platform.store)
        await keep(control, everybody.objects)
        async with world_on(platform) as world:
            world.headers = {"Authorization": f"Bearer {everybody.tokens['root']}", "Voxloom-Project": "lab1"}
            yield Closed(world, everybody, control)


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with closed_at(tmp_path) as closed:
        yield closed
