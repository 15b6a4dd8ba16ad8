"""The tests' own RabbitMQ: what tests rely on, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from tests.brokers import MISSING, Broker, is_installed, living

WAIT_SECS = 60.0
SETTLE_SECS = 1.5
"""A broker that is killed within a second of a queue's declaration forgets it. Nothing tells when this is over."""

# A process that starts a broker and is then killed before it could stop it.
STARTER = """
import sys, time
from pathlib import Path
from tests.brokers import Broker
Broker(Path(sys.argv[1])).start()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if not is_installed():
        pytest.fail(MISSING)
    return tmp_path / "b"


@pytest.fixture
def lone_broker(home: Path) -> Iterator[Broker]:
    broker = Broker(home).start()
    yield broker
    broker.kill()


async def test_what_is_in_one_vhost_is_not_in_another(broker: Broker) -> None:
    # Given
    async with await aio_pika.connect(broker.new_vhost()) as one:
        await _declare(await one.channel(), "work")

    # When
    async with await aio_pika.connect(broker.new_vhost()) as other:
        channel = await other.channel()

        # Then
        with pytest.raises(ChannelNotFoundEntity):
            await channel.get_queue("work")


async def test_a_queue_is_told_of_and_can_be_taken_away(broker: Broker) -> None:
    # Given
    url = broker.new_vhost()
    async with await aio_pika.connect(url) as connection:
        await _declare(await connection.channel(), "a/b c")
    before = [queue["name"] for queue in broker.queues(url)]

    # When
    broker.delete_queue(url, "a/b c")

    # Then
    assert before == ["a/b c"]
    assert broker.queues(url) == []


async def test_a_user_may_do_what_was_granted_and_no_more(broker: Broker) -> None:
    # Given
    url = broker.add_user("reader", "p/w @", url=broker.new_vhost(), configure="^mine$")

    async with await aio_pika.connect(url) as connection:
        # When
        await _declare(await connection.channel(), "mine")

        # Then
        with pytest.raises(ChannelAccessRefused):
            await _declare(await connection.channel(), "yours")


def test_it_has_figures_for_prometheus(broker: Broker) -> None:
    with urlopen(broker.metrics, timeout=WAIT_SECS) as answer:
        assert b"rabbitmq_connections" in answer.read()


async def test_after_a_kill_nothing_runs_and_what_was_confirmed_is_kept(lone_broker: Broker, home: Path) -> None:
    # Given
    url = lone_broker.new_vhost()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await _declare(channel, "work")
        await asyncio.sleep(SETTLE_SECS)
        await _publish(channel, "work", b"kept")
        before = named(home)

        # When
        lone_broker.kill()

    # Then
    assert {"epmd", "beam.smp"} <= before
    assert named(home) == set()
    with pytest.raises(RuntimeError, match="does not run"):  # else it would start an epmd, and that stays
        lone_broker.control("status")
    assert named(home) == set()
    lone_broker.start()
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("work")
        assert (await queue.get(timeout=WAIT_SECS)).body == b"kept"
    # And after a stop nothing runs either
    lone_broker.stop()
    assert named(home) == set()


def test_it_ends_with_whoever_started_it(home: Path) -> None:
    # Given
    command = [sys.executable, "-c", STARTER, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"

        # When
        starter.kill()

    # Then
    deadline = time.monotonic() + WAIT_SECS
    while named(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert named(home) == set()


async def _declare(channel: AbstractChannel, name: str) -> AbstractQueue:
    return await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})


async def _publish(channel: AbstractChannel, queue: str, body: bytes) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue, timeout=WAIT_SECS)


def named(home: Path) -> set[str]:
    """The living processes whose home this is, whoever their parents are."""
    return set(living(f"HOME={home}").values())
