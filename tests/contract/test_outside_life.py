"""The place of those outside when something is away, comes back, or was never as it must be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from services import checks
from services.gateway.operations import runs
from services.gateway.service import Gateway
from shared.bus import topology
from shared.bus.amqp.outside import RabbitOutside
from shared.bus.rabbit import RabbitBus
from shared.service import Platform
from tests.brokers import Broker, free_ports, vhost_of
from tests.contract.bus_tools import until
from tests.contract.outside_world import PASSWORD, new_places, outer_at, run_id
from voxloom.errors import Misconfigured, StoreUnavailable


async def test_what_is_said_and_asked_goes_on_after_a_lost_connection(broker: Broker, tmp_path: Path) -> None:
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        # When the broker cuts everybody off who is in the vhost for others
        await asyncio.to_thread(broker.close_connections_in, outer.url)
        async with outer.listening(mia) as ear, outer.asking(mia) as ask:
            # Then messages wait, and what comes of them is heard
            await ask(run := run_id())
            await outer.has_run(run)
            await ear.has(f"execution.requested.lab1.{run}")


async def test_a_queue_that_somebody_has_deleted_is_there_again(broker: Broker, tmp_path: Path) -> None:
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        await asyncio.to_thread(broker.delete_queue, outer.url, "asked")
        await until(lambda: any(one["name"] == "asked" for one in broker.queues(outer.url)))
        async with outer.asking(mia) as ask:
            await ask(run := run_id())
            await outer.has_run(run)


async def test_of_two_gateways_one_tells_and_both_are_asked(broker: Broker, tmp_path: Path) -> None:
    async with outer_at(broker, tmp_path) as outer:
        mia, platform = outer.user("mia"), outer.world.platform
        bus = RabbitBus(platform.settings.broker.get_secret_value())
        await bus.open()
        other = Gateway(Platform(bus=bus, store=platform.store, settings=platform.settings))
        await other.start()
        try:
            async with outer.listening(mia) as ear, outer.asking(mia) as ask:
                # Given runs that both gateways are asked for
                runs = [run_id() for _ in range(8)]
                for run in runs:
                    await ask(run)
                for run in runs:
                    await ear.has(f"execution.requested.lab1.{run}")
                # When the one that tells of them goes
                await outer.world.gateway.stop()
                await ask(last := run_id())
                await ear.has(f"execution.requested.lab1.{last}")
                # Then each was asked for once, by whichever of them
                assert sorted(outer.runs) == sorted([*runs, last])
        finally:
            await other.stop()
            await bus.close()


@asynccontextmanager
async def forwarded(port: int, to: int) -> AsyncIterator[None]:
    """A way to the broker that was not there before."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def test_a_gateway_starts_without_those_outside_and_misses_nothing(broker: Broker, tmp_path: Path) -> None:
    # Given a broker for others that is not there yet
    places, port = new_places(broker), free_ports(1)[0]
    real = urlsplit(places.outside)
    away = places.outside.replace(f":{real.port}/", f":{port}/")
    async with outer_at(broker, tmp_path, places=places, outside=away) as outer:
        outer.url = places.outside
        mia = outer.user("mia")
        async with httpx.AsyncClient(base_url=outer.world.gateway.url, headers=outer.world.headers) as client:
            # When somebody asks over REST meanwhile
            asked = {"algorithm_id": outer.algorithm, "input_dataset_ids": []}
            run = (await client.post("/api/v1/executions", json=asked)).json()["execution_id"]
            assert "voxloom_outside_up 0.0" in (await client.get("/metrics")).text
            assert real.port is not None
            async with outer_channel(outer, mia) as ear, forwarded(port, real.port):
                # Then those outside hear of it as soon as they can be reached
                await ear.has(f"execution.requested.lab1.{run}")
                await until(lambda: _is_up(client))
    for url in places:
        broker.remove_vhost(url)


async def _is_up(client: httpx.AsyncClient) -> bool:
    return "voxloom_outside_up 1.0" in (await client.get("/metrics")).text


@asynccontextmanager
async def outer_channel(outer: Any, url: str) -> AsyncIterator[Any]:
    """Of somebody who listens before the gateway has made the exchange."""
    outer.broker.ask("PUT", f"exchanges/{vhost_of(url)}/events", {"type": "topic", "durable": True})
    async with outer.listening(url) as ear:
        yield ear


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("password", "user or the password"),
        ("vhost", "make the vhost"),
        ("rights", "rights"),
        ("services", "vhost of the services"),
        ("older", "otherwise"),
    ],
)
async def test_a_place_that_is_not_as_it_must_be_is_one_sentence(broker: Broker, wrong: str, says: str) -> None:
    places = new_places(broker)
    url = places.outside
    match wrong:
        case "password":
            url = url.replace(PASSWORD, "hunter2")
        case "vhost":
            url = broker.url_of("nowhere", "doorkeeper", PASSWORD)
        case "rights":
            url = broker.add_user("locked-out", PASSWORD, url=url)
        case "services":
            url = places.inside
            async with service_at(url):
                pass
        case "older":
            broker.ask("PUT", f"queues/{vhost_of(url)}/asked", {"durable": True, "arguments": {}})
    with pytest.raises(Misconfigured, match=says) as told:
        await RabbitOutside(url).open()
    assert "`outside`" in told.value.message
    assert not {"hunter2", f":{PASSWORD}@"} & set(told.value.message.split())
    for one in places:
        broker.remove_vhost(one)


@asynccontextmanager
async def service_at(url: str) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(url)
    await bus.open()
    await bus.declare(*topology.ALL)
    try:
        yield bus
    finally:
        await bus.close()


def test_the_doctor_looks_at_the_place_of_those_outside(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = new_places(broker)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXLOOM_BROKER", places.inside)
    seen: dict[str, str | None] = {}
    for url in (places.outside, places.inside):
        monkeypatch.setenv("VOXLOOM_OUTSIDE", url)
        (one,) = (one for one in checks.platform(data=tmp_path / "data") if one.what == "those outside")
        seen[url] = one.next_step
    assert seen[places.outside] is None
    assert "the vhost of the services" in (seen[places.inside] or "")
    for one_url in places:
        broker.remove_vhost(one_url)


class Fate:
    """What becomes of requests in turn, in place of asking for the run."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self._ask = runs.ask

    async def ask(self, *asked: Any) -> runs.Asked:
        if self.errors:
            raise self.errors.pop(0)
        return await self._ask(*asked)


async def test_a_fault_of_ours_is_said_once_and_never_tried_again(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fate = Fate(RuntimeError("a fault"))
    monkeypatch.setattr(runs, "ask", fate.ask)
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        async with outer.listening(mia) as ear, outer.asking(mia) as ask:
            await ask(run := run_id())
            error = (await ear.has(f"execution.rejected.lab1.{run}"))["error"]
            assert (error["code"], "a fault" in error["message"]) == ("internal_error", False)
            assert error["details"]["error_id"] in caplog.text
            await ask(good := run_id())
            await outer.has_run(good)
            assert outer.runs == [good]


async def test_a_message_that_cannot_even_be_rejected_is_settled(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("services.gateway.operations.askings.said_of", None)
        async with outer_at(broker, tmp_path) as outer:
            mia = outer.user("mia")
            async with outer.asking(mia) as ask:
                await ask(run_id(), b"no json")
                await outer.count_is("ignored", 1)
                await ask(run := run_id())
                await outer.has_run(run)


async def test_a_request_waits_while_the_store_is_away(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a store that is away, for longer than a gateway tries by itself
    monkeypatch.setattr("services.gateway.operations.outside.PATIENCE_SECS", 0.5)
    fate = Fate(*[StoreUnavailable("away")] * 6)
    monkeypatch.setattr(runs, "ask", fate.ask)
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        async with outer.listening(mia) as ear, outer.asking(mia) as ask:
            # Then the message goes back and comes again, and its run is asked for when the store is there
            await ask(run := run_id())
            await ear.has(f"execution.requested.lab1.{run}")
            assert (fate.errors, ear.of(run)) == ([], ["requested"])


async def test_a_message_that_is_given_back_too_often_is_rejected(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.operations.outside.PATIENCE_SECS", 0.0)
    monkeypatch.setattr("services.gateway.operations.askings.MOST_DELIVERIES", 2)
    fate = Fate(*[StoreUnavailable("away")] * 100)
    monkeypatch.setattr(runs, "ask", fate.ask)
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        async with outer.listening(mia) as ear, outer.asking(mia) as ask:
            await ask(run := run_id())
            assert await ear.rejected(run) == "message_given_up"
            assert len(fate.errors) == 98
