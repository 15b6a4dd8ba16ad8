"""The system apart: a process per service, RabbitMQ, and an S3 server. What that costs beside one process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiobotocore.session import get_session
from botocore.config import Config

from benchmarks import runs
from benchmarks.figures import Figure, percentile
from benchmarks.system import NOOP, READY, System
from messages.files import FileUploaded
from shared.bus.base import KEEP, Queue
from shared.bus.rabbit import RabbitBus
from tests.brokers import MISSING, Broker, is_installed
from tests.s3server import COUNTS, KEYS, S3Server

SERVICES = ("recorder", "scheduler", "ingest", "deployer", "worker", "gateway")
TARGETS = {
    "no-op, POST → COMPLETED seen by long poll, p50": 15.0,
    "no-op, 32 in flight": 250.0,
    "submit accepted, 32 in flight": 1000.0,
    "stop → STOPPED, API called every 50 ms, p95": 100.0,
    "stop of a queued run, p95": 50.0,
    "progress in the runner → seen on SSE, p95": 150.0,
}


class Apart(System):
    """One process per service; broker and store are processes, too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        folder = Path(self._folder.name)
        self.broker = Broker(folder / "broker")
        self.store = S3Server(folder / "s3.log")
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        await asyncio.to_thread(self.broker.start)
        await asyncio.to_thread(self.store.start)
        self._places = {"VOXLOOM_BROKER": self.broker.new_vhost(), "VOXLOOM_STORE": self.store.url(), **KEYS}
        begun = time.perf_counter()
        lines = await asyncio.gather(*(self._begin(service) for service in SERVICES))
        self.started_in = time.perf_counter() - begun
        found = READY.search(lines[-1])
        assert found is not None, f"the gateway did not start: {lines[-1]!r}"
        self.url = found[1].decode()

    @property
    def bus_url(self) -> str:
        return self._places["VOXLOOM_BROKER"]

    async def _begin(self, service: str) -> bytes:
        settings = {f"VOXLOOM_{name.upper()}": str(value) for name, value in self._settings.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "voxloom", "serve", service, "--port", "0", "--data", str(self.data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **settings, **self._places},
        )
        self._processes.append(process)
        assert process.stdout is not None
        return await process.stdout.readline()

    async def end(self, number: signal.Signals) -> None:
        for process in reversed(self._processes):
            process.send_signal(number)
        async with asyncio.timeout(60):
            await asyncio.gather(*(process.wait() for process in self._processes))
        self._processes.clear()
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.store.kill)

    def store_requests(self) -> Counter[str]:
        """So far, by method."""
        with urlopen(f"{self.store.endpoint}{COUNTS}") as answer:
            return Counter(json.load(answer))


async def measure() -> list[Figure]:
    if not is_installed():
        raise SystemExit(MISSING)
    async with Apart(grace=1.0) as system:
        confirmed, put = await confirm_ms(system.bus_url), await put_ms(system)
        figures = [_apart(figure, confirmed, put) for figure in await runs.measure(system)]
        return [*figures, *await _per_run(system)]


def _apart(figure: Figure, confirmed: float, put: float) -> Figure:
    """The same figure beside the yardsticks of this footing."""
    yardstick: tuple[str, float | None] = ("", None)
    if figure.unit == "ms" and figure.name.startswith("no-op"):
        # On the way lie, one behind the other, four confirmed publishes and the write of the record.
        yardstick = ("4 confirmed publishes + 1 PUT", 4 * confirmed + put)
    return Figure(
        f"RabbitMQ + S3: {figure.name}",
        figure.value,
        figure.unit,
        TARGETS.get(figure.name),
        figure.at_most,
        *yardstick,
    )


async def _per_run(system: Apart, count: int = 200) -> list[Figure]:
    """What one run costs broker and store, while nothing else happens but heartbeats."""
    noop = await system.deploy("counted", NOOP)
    await system.run(noop)
    heard: Counter[str] = Counter()

    async def take(events: Any) -> None:
        heard.update(event.type_name for _, event in events if event.entity == "execution")

    bus = RabbitBus(system.bus_url)
    await bus.open()
    following = await bus.follow(take)
    before = system.store_requests()
    for _ in range(count):
        await system.run(noop)
    await asyncio.sleep(1.0)
    await following.catch_up()
    asked = system.store_requests() - before
    await bus.close()
    return [
        Figure("RabbitMQ + S3: lifecycle events per no-op run", sum(heard.values()) / count, "events"),
        Figure("RabbitMQ + S3: writes to the store per no-op run, one at a time", _writes(asked) / count, "PUTs"),
        Figure("RabbitMQ + S3: reads of the store per no-op run", (asked["GET"] + asked["HEAD"]) / count, "GETs"),
    ]


def _writes(asked: Mapping[str, int]) -> int:
    return asked.get("PUT", 0) + asked.get("POST", 0) + asked.get("DELETE", 0)


async def confirm_ms(url: str, count: int = 300) -> float:
    """Milliseconds until RabbitMQ has confirmed one event that goes to the stream and to one quorum queue."""
    bus = RabbitBus(url)
    await bus.open()
    await bus.declare(Queue("yardstick", ("file.uploaded.#",), KEEP))
    times = []
    for number in range(count):
        begun = time.perf_counter()
        await bus.publish(FileUploaded(subject=str(number), size=1, etag="e"))
        times.append((time.perf_counter() - begun) * 1e3)
    await bus.delete_queue("yardstick")
    await bus.close()
    return percentile(times, 0.5)


async def put_ms(system: Apart, count: int = 200) -> float:
    """Milliseconds of one PUT of 1 KiB with the raw client."""
    keys = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    times = []
    async with get_session().create_client(
        "s3", endpoint_url=system.store.endpoint, region_name="us-east-1", config=config, **keys
    ) as client:
        await client.create_bucket(Bucket="yardstick")
        for number in range(count):
            begun = time.perf_counter()
            await client.put_object(Bucket="yardstick", Key=str(number), Body=b"x" * 1024)
            times.append((time.perf_counter() - begun) * 1e3)
    return percentile(times, 0.5)
