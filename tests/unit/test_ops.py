"""What a process says of itself to supervisors and to Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from shared.ops import Ops
from shared.service import Platform, Service
from shared.settings import Settings
from tests.unit.memory_platform import MemoryStore, NotingBus
from voxloom.errors import Misconfigured


class Counting(Service):
    name = "counting"

    async def on_start(self) -> None: ...

    def figures(self) -> Mapping[str, float]:
        return {"counting_sheep": 7}


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(bus=NotingBus(), store=MemoryStore(), settings=Settings(data=tmp_path, ops_port=0))


@pytest.fixture
async def services(platform: Platform) -> AsyncIterator[list[Service]]:
    service = Counting(platform)
    yield [service]
    await service.stop()


@pytest.fixture
async def ops(platform: Platform, services: list[Service]) -> AsyncIterator[Ops]:
    ops = Ops(platform, services)
    await ops.start()
    yield ops
    await ops.stop()


async def get(ops: Ops, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{ops.port}{path}")


async def test_a_process_whose_services_are_well_is_ready(ops: Ops) -> None:
    assert (await get(ops, "/readyz")).status_code == 200


async def test_a_process_that_still_starts_lives_and_is_not_ready(ops: Ops, services: list[Service]) -> None:
    services.clear()
    assert (await get(ops, "/livez")).status_code == 200
    answer = await get(ops, "/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


async def test_a_service_that_failed_is_named(ops: Ops, services: list[Service]) -> None:
    services[0].fail(ValueError("dead"))
    assert "the counting no longer hears" in (await get(ops, "/readyz")).json()["detail"]


async def test_figures_of_the_services_are_shown(ops: Ops) -> None:
    text = (await get(ops, "/metrics")).text
    assert "voxloom_counting_sheep 7.0" in text
    assert 'voxloom_service_ready{service="counting"} 1.0' in text


async def test_a_port_that_is_taken_is_one_sentence(ops: Ops, platform: Platform) -> None:
    settings = platform.settings.model_copy(update={"ops_port": ops.port})
    second = Ops(Platform(platform.bus, platform.store, settings), [])
    with pytest.raises(Misconfigured, match="VOXLOOM_OPS_PORT"):
        await second.start()
    await second.stop()
