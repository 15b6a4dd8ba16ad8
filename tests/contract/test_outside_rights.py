"""Five users of the broker, with the rights that the documents give them, and what each of them tries."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import orjson
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelPreconditionFailed

from tests.brokers import Broker, vhost_of
from tests.contract.bus_tools import until
from tests.contract.outside_world import DOCUMENT, PASSWORD, Outer, body, channel_of, outer_at, run_id
from tests.contract.raw_amqp import HEADERS, MESSAGE_ID, TIMESTAMP, USER_ID, raw, short
from tests.rabbitmqctl import lines_of, typed

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"
Attempt = Callable[[AbstractChannel], Awaitable[object]]


@pytest.fixture
async def outer(broker: Broker, tmp_path: Path) -> AsyncIterator[Outer]:
    async with outer_at(broker, tmp_path) as outer:
        yield outer


async def refused(url: str, attempt: Attempt) -> str:
    """What the broker says to it; empty where it lets it."""
    try:
        async with channel_of(url) as channel:
            await attempt(channel)
    except (ChannelAccessRefused, ChannelPreconditionFailed) as error:
        return type(error).__name__
    return ""


def hears(pattern: str, exchange: str = "events") -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.declare_queue(exclusive=True)).bind(exchange, pattern)

    return attempt


def sends(exchange: str, key: str, **facts: Any) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        there = channel.default_exchange if not exchange else await channel.get_exchange(exchange, ensure=False)
        await there.publish(aio_pika.Message(orjson.dumps(body()), **facts), key)

    return attempt


async def ignore(_: AbstractIncomingMessage) -> None: ...


async def takes(channel: AbstractChannel) -> None:
    await (await channel.get_queue("asked", ensure=False)).consume(ignore)


async def gets(channel: AbstractChannel) -> None:
    await (await channel.get_queue("asked", ensure=False)).get(fail=False)


async def empties(channel: AbstractChannel) -> None:
    await (await channel.get_queue("asked", ensure=False)).purge()


async def deletes(channel: AbstractChannel) -> None:
    await channel.queue_delete("asked")


async def deletes_exchange(channel: AbstractChannel) -> None:
    await channel.exchange_delete("requests")


async def binds(channel: AbstractChannel) -> None:
    await (await channel.get_queue("asked", ensure=False)).bind("events", "*.*.lab1.#")


async def unbinds(channel: AbstractChannel) -> None:
    await (await channel.get_queue("asked", ensure=False)).unbind("requests", "#")


async def buries(channel: AbstractChannel) -> None:
    """Has what dies passed on to the gateways' queue."""
    arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "asked"}
    await (await channel.declare_queue(exclusive=True, arguments=arguments)).bind("events", "*.*.lab1.#")


async def keeps(channel: AbstractChannel) -> None:
    await channel.declare_queue("mine", durable=True)


async def names(channel: AbstractChannel) -> None:
    await channel.declare_queue("amq.gen-mine", durable=True)


async def streams(channel: AbstractChannel) -> None:
    await channel.declare_queue("mine", durable=True, arguments={"x-queue-type": "stream"})


async def makes_exchange(channel: AbstractChannel) -> None:
    await channel.declare_exchange("mine", "topic")


EVERYBODYS: list[Attempt] = [
    hears("#"),
    hears("*.*.lab2.#"),
    hears("*.#"),
    hears("execution.#.lab1.x"),
    hears("*.*.*.#"),
    hears("#", "requests"),
    hears("execution.requested.lab1.x", "requests"),
    sends("events", "execution.completed.lab1.x"),
    sends("", "asked"),
    takes,
    gets,
    empties,
    deletes,
    deletes_exchange,
    binds,
    unbinds,
    buries,
    keeps,
    names,
    streams,
    makes_exchange,
]
ASKERS = [
    sends("requests", "execution.requested.lab2.x", user_id="mia"),
    sends("requests", "file.uploaded.lab1.x", user_id="mia"),
    sends("requests", "execution.requested.lab1.x", user_id="max"),
    sends("requests", "execution.requested.lab1.x", user_id="doorkeeper"),
]
LISTENERS = [sends("requests", "execution.requested.lab1.x", user_id="listener")]


async def test_the_broker_refuses_what_nobody_outside_may(outer: Outer) -> None:
    # Given somebody who may ask in one project, and somebody who may listen to it
    mia, listener = outer.user("mia", project="lab1"), outer.user("listener", project="lab1", asks=False)
    # Then all that is somebody else's is refused
    assert [await refused(mia, one) for one in EVERYBODYS + ASKERS] == [
        *["ChannelAccessRefused"] * (len(EVERYBODYS) + 2),
        *["ChannelPreconditionFailed"] * 2,
    ]
    assert {await refused(listener, one) for one in EVERYBODYS + LISTENERS} == {"ChannelAccessRefused"}
    # And what is theirs is not
    assert await refused(mia, hears("*.*.lab1.#")) == await refused(listener, hears("execution.*.lab1.x")) == ""
    assert outer.runs == []


async def test_what_nobody_takes_is_bounded_whatever_its_owner_says(outer: Outer) -> None:
    # Given the policy of the document, with a smaller number, and somebody who takes nothing
    (line,) = lines_of(DOCUMENT, "listeners")
    typed(outer.broker, [line.replace("10000", "5")], outside=vhost_of(outer.url))
    slow, mia = outer.user("slow", asks=False), outer.user("mia")
    async with channel_of(slow) as channel, outer.listening(mia) as ear, outer.asking(mia) as ask:
        queue = await channel.declare_queue(durable=True, arguments={"x-max-length": 100_000})
        await queue.bind("events", "execution.rejected.lab1.#")
        # When there is more than it allows
        runs = [run_id() for _ in range(10)]
        for run in runs:
            await ask(run, b"no json")
        # Then all others hear it, and the queue has no more than that
        assert [await ear.rejected(run) for run in runs] == ["request_validation_error"] * 10
        told = await channel.declare_queue(queue.name, passive=True)
        assert told.declaration_result.message_count == 5


async def test_who_has_no_part_in_a_vhost_does_not_get_in(outer: Outer, broker: Broker) -> None:
    # Given a stranger, a worker, a service, somebody who may ask, and the gateways' user for those outside
    inside = outer.world.platform.settings.broker.get_secret_value()
    rights = dict(
        zip(("configure", "write", "read"), re.findall(r"^  '(\^.*\$)'", DEPLOY.read_text(), re.M), strict=True)
    )
    for name in ("a-worker", "a-service"):
        broker.add_user(name, PASSWORD, url=inside, **rights)
    outer.user("mia", project="lab1")
    outer.broker.ask("PUT", "users/stranger", {"password": PASSWORD, "tags": ""})
    # Then each is let into their own vhost alone
    within, without = vhost_of(inside), vhost_of(outer.url)
    wrong = [(without, "stranger"), (without, "a-worker"), (without, "a-service")]
    wrong += [(within, "mia"), (within, "doorkeeper"), (within, "stranger")]
    for vhost, name in wrong:
        with pytest.raises((AMQPError, ConnectionError)):
            async with asyncio.timeout(30), await aio_pika.connect(broker.url_of(vhost, name, PASSWORD)):
                pass


async def test_no_second_key_reaches_anybody(outer: Outer) -> None:
    # Given somebody who may ask in one project, and somebody who hears all
    mia, root = outer.user("mia", project="lab1"), outer.user("root")
    async with outer.listening(root, "#") as ear, outer.asking(mia) as ask:
        # When there is a second key to the services, to their queue, or to another project
        runs = [run_id() for _ in range(2)]
        await ask(runs[0], headers={"CC": ["asked", "execution.requested.lab2.x", "inbox.worker.w"]})
        assert await ear.rejected(runs[0]) == "message_misaddressed"
        # Then one that the broker takes out before anybody sees it leads nowhere
        await ask(
            runs[1],
            headers={"BCC": ["asked", "execution.requested.lab2.x", "inbox.worker.w", "execution.completed.lab1.y"]},
        )
        await outer.has_run(runs[1])
        await outer.count_is("accepted", 1)
        assert await outer.figure("ignored") == 0
        assert outer.runs == [runs[1]]
        assert [key for key in ear.keys if key.startswith("execution.completed")] == []


async def test_one_that_hides_its_key_is_known_by_the_other(outer: Outer) -> None:
    mia, root = outer.user("mia"), outer.user("root")
    async with outer.listening(root, "#") as ear, outer.asking(mia) as ask:
        await ask(run := run_id(), key=f"odd.key.lab1.{run}", headers={"BCC": [f"execution.requested.lab1.{run}"]})
        assert await ear.rejected(run) == "message_misaddressed"
        assert outer.runs == []


async def test_what_no_program_can_read_ends_nothing(outer: Outer) -> None:
    """Bytes that the broker lets through, and that the library for it fails on: it would end the connection, get the
    message again with the next one, and so on."""
    mia = outer.user("mia")
    user, data = short(b"mia"), orjson.dumps(body())
    odd: list[tuple[bytes, int, bytes]] = [
        (b"execution.requested.lab1.x", USER_ID | TIMESTAMP, struct.pack(">Q", 2**64 - 1) + user),
        (b"execution.requested.lab1.x", USER_ID | MESSAGE_ID, short(b"\xff\xfe") + user),
        (b"execution.requested.lab1.x", USER_ID | HEADERS, _table(b"T" + struct.pack(">Q", 2**63)) + user),
        (b"execution.requested.\xff\xfe.x", USER_ID, user),
    ]
    async with outer.asking(mia) as ask, raw(mia) as client:
        for key, flags, properties in odd:
            client.publish(key, flags, properties, data)
        await client.confirmed(len(odd))
        await outer.count_is("ignored", len(odd))
        await ask(run := run_id())
        await outer.has_run(run)
    await until(lambda: outer.runs == [run])


def _table(value: bytes) -> bytes:
    return struct.pack(">I", 2 + len(value)) + short(b"a") + value
