"""The system apart: a process per service, RabbitMQ, and an S3 server. What that costs beside one process."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from aiobotocore.session import get_session
from botocore.config import Config

from benchmarks import runs
from benchmarks.apart import Apart, writes
from benchmarks.figures import Figure, percentile
from benchmarks.system import NOOP
from messages.files import FileUploaded
from shared.bus.base import KEEP, Queue
from shared.bus.rabbit import RabbitBus
from tests.s3server import KEYS

TARGETS = {
    "no-op, POST → COMPLETED seen by long poll, p50": 15.0,
    "no-op, 32 in flight": 110.0,
    "submit accepted, 32 in flight": 400.0,
    "stop → STOPPED, API called every 50 ms, p95": 100.0,
    "stop of a queued run, p95": 50.0,
    "progress in the runner → seen on SSE, p95": 150.0,
}


async def measure() -> list[Figure]:
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
        Figure("RabbitMQ + S3: writes to the store per no-op run, one at a time", writes(asked) / count, "PUTs"),
        Figure("RabbitMQ + S3: reads of the store per no-op run", (asked["GET"] + asked["HEAD"]) / count, "GETs"),
    ]


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
