"""taskiq on RabbitMQ: a task that does nothing but tell its end, and its client. Runs in taskiq's environment."""

from __future__ import annotations

import asyncio
import itertools
import os

from taskiq_aio_pika import AioPikaBroker

from benchmarks.peers.bell import AsyncBell, ring
from benchmarks.peers.talk import AsyncClient, obey

broker = AioPikaBroker(os.environ["BENCH_BROKER"])


async def nothing(number: int) -> None:
    ring(number)


noop = broker.task(task_name="noop")(nothing)


def main() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(broker.startup())
    bell, numbers = AsyncBell(loop), itertools.count()

    async def run() -> None:
        number = next(numbers)
        ended = bell.expected(number)
        await noop.kiq(number)
        await ended

    obey(AsyncClient(loop, run))


if __name__ == "__main__":
    main()
