"""The tests' own RabbitMQ: what tests rely on, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
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
from tests.polling import pauses

WAIT_SECS = 60.0
SETTLE_SECS = 1.5
"""A broker that is killed within a second of a queue's declaration forgets it. Nothing tells when this is over."""

# A process that starts a broker and is then killed before it could stop it.
STARTER = """
import json, sys, time
from pathlib import Path
from tests.brokers import Broker
print(json.dumps(Broker(Path(sys.argv[1])).start().facts), flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if not is_installed():
        pytest.fail(MISSING)
    return tmp_path / "b"


@pytest.fixture
def starter(home: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", STARTER, str(home)], stdout=subprocess.PIPE, text=True) as starter:
        yield starter
        starter.kill()


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


async def test_it_ends_with_whoever_started_it_and_keeps_what_was_confirmed(
    starter: subprocess.Popen[str], home: Path
) -> None:
    # Given a broker that another process has started
    assert starter.stdout is not None
    facts = json.loads(starter.stdout.readline())
    broker = Broker.elsewhere(facts)
    url = broker.new_vhost()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await _declare(channel, "work")
        await asyncio.sleep(SETTLE_SECS)
        await _publish(channel, "work", b"kept")
        before = named(home)

        # When that process is killed
        starter.kill()

    # Then nothing of it is left
    assert {"epmd", "beam.smp"} <= before
    _until_nothing_is_left(home)
    # And after a new start what was confirmed is there
    broker.start()
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("work")
        assert (await queue.get(timeout=WAIT_SECS)).body == b"kept"
    # And when it is stopped, nothing is left either; who asks then starts nothing
    broker.stop()
    assert named(home) == set()
    with pytest.raises(RuntimeError, match="does not run"):  # else it would start an epmd, and that stays
        broker.control("status")
    assert named(home) == set()


def _until_nothing_is_left(home: Path) -> None:
    deadline = time.monotonic() + WAIT_SECS
    for pause in pauses():
        if not named(home) or time.monotonic() > deadline:
            break
        time.sleep(pause)
    assert named(home) == set()


async def _declare(channel: AbstractChannel, name: str) -> AbstractQueue:
    return await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})


async def _publish(channel: AbstractChannel, queue: str, body: bytes) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue, timeout=WAIT_SECS)


def named(home: Path) -> set[str]:
    """The living processes whose home this is, whoever their parents are."""
    return set(living(f"HOME={home}").values())
