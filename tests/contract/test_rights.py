"""The rights that docs/deploy.md gives to the services: enough, and no more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused

from messages.files import FileUploaded
from messages.runs import RunProgressed
from shared.bus import topology
from shared.bus.base import Bus, Queue
from shared.bus.rabbit import RabbitBus
from tests.brokers import Broker, vhost_of
from tests.contract.bus_tools import Inbox, StreamInbox, until
from tests.named import A
from voxloom.errors import Misconfigured

DOCUMENT = Path(__file__).parents[2] / "docs" / "deploy.md"
Attempt = Callable[[AbstractChannel], Awaitable[object]]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RabbitBus]:
    bus = RabbitBus(url)
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
def service(broker: Broker) -> Iterator[str]:
    """The URL of a user with the rights of the document."""
    configure, write, read = re.findall(r"^  '(\^.*\$)'", DOCUMENT.read_text(), re.MULTILINE)
    url = broker.new_vhost()
    yield broker.add_user("documented", "secret", url=url, configure=configure, write=write, read=read)
    broker.remove_vhost(url)


def uploaded(subject: str) -> FileUploaded:
    return FileUploaded(subject=subject, size=1, etag="e")


async def test_a_service_may_do_all_that_a_service_does(service: str) -> None:
    inbox, stream, heard = Inbox(fails={"tried again": 1}), StreamInbox("default"), list[str]()
    async with opened(service) as bus:
        await bus.declare(*topology.ALL, topology.worker_queue("w"), topology.admission_queue("s"))
        await bus.follow(stream.take)
        await bus.listen(["#"], lambda event: heard.append(event.subject))
        await bus.consume(topology.INGEST, inbox)
        await bus.publish(uploaded("tried again"), uploaded("done"))
        bus.announce(RunProgressed(subject=A, progress=0.5))
        await inbox.has("done", "tried again")
        await stream.has("done")
        await until(lambda: heard == [A])
        assert {one.name for one in await bus.stats("dead")} >= {"recorder", "worker.w", "dead"}
        await bus.delete_queue("worker.w")


async def test_a_service_may_deal_with_the_dead(service: str) -> None:
    inbox = Inbox(fails={"a": 1})
    queue = replace(
        topology.DEPLOYER, bindings=("file.uploaded.#",), policy=replace(topology.DEPLOYER.policy, delays=())
    )
    async with opened(service) as bus:
        await bus.consume(queue, inbox)
        await bus.publish(uploaded("a"))
        await until(lambda: has_dead(bus))
        await bus.replay((await bus.dead_letters())[0].id)
        await inbox.has("a")
        assert await bus.dead_letters() == []


async def has_dead(bus: Bus) -> bool:
    return bool(await bus.dead_letters())


@pytest.mark.parametrize("name", ["somebody-elses", "xrecorder", "recorder.again-in-10ms", "ingest.copy", "amq.other"])
async def test_a_service_may_make_no_queue_of_another_name(service: str, name: str) -> None:
    async with opened(service) as bus:
        with pytest.raises(Misconfigured, match="rights"):
            await bus.declare(Queue(name, ("#",), topology.INGEST.policy))


# --- what is others' in the same vhost -----------------------------------------------------------------------------


@pytest.fixture
async def channel(broker: Broker, service: str) -> AsyncIterator[AbstractChannel]:
    """A service's, in a vhost in which somebody else has a queue and an exchange, too."""
    async with asyncio.timeout(60):
        async with await aio_pika.connect(broker.url_of(vhost_of(service))) as others:
            await declare_others(await others.channel())
        async with opened(service) as bus:
            await bus.declare(*topology.ALL)
        async with await aio_pika.connect(service) as connection:
            yield await connection.channel()


async def declare_others(channel: AbstractChannel) -> None:
    await channel.declare_exchange("theirs", "topic", durable=True)
    await channel.declare_queue("theirs", durable=True)


async def make(channel: AbstractChannel) -> None:
    await channel.declare_queue("theirs", durable=True)


async def consume(channel: AbstractChannel) -> None:
    queue = await channel.get_queue("theirs", ensure=False)
    await queue.consume(ignore)


async def ignore(message: AbstractIncomingMessage) -> None: ...


async def take(channel: AbstractChannel) -> None:
    await (await channel.get_queue("theirs", ensure=False)).get(fail=False)


async def empty(channel: AbstractChannel) -> None:
    await (await channel.get_queue("theirs", ensure=False)).purge()


async def delete(channel: AbstractChannel) -> None:
    await channel.queue_delete("theirs")


async def bind(channel: AbstractChannel) -> None:
    await (await channel.get_queue("theirs", ensure=False)).bind("events", "#")


async def hear(channel: AbstractChannel) -> None:
    await (await channel.get_queue("recorder", ensure=False)).bind("theirs", "#")


async def publish(channel: AbstractChannel) -> None:
    await (await channel.get_exchange("theirs", ensure=False)).publish(aio_pika.Message(b"{}"), "a")


async def delete_exchange(channel: AbstractChannel) -> None:
    await channel.exchange_delete("theirs")


async def bury_what_happens(channel: AbstractChannel) -> None:
    """Their own, too: the dead get what could not be handled, and nothing else."""
    await (await channel.get_queue("dead", ensure=False)).bind("events", "#")


TOUCHES: list[Attempt] = [make, consume, take, empty, delete, bind, hear, publish, delete_exchange, bury_what_happens]


@pytest.mark.parametrize("touch", TOUCHES)
async def test_a_service_may_not_touch(channel: AbstractChannel, touch: Attempt) -> None:
    with pytest.raises(ChannelAccessRefused):
        await touch(channel)


async def test_who_has_no_rights_does_not_get_in(broker: Broker, service: str) -> None:
    visitor = broker.add_user("visitor", "secret", url=service)
    with pytest.raises(Misconfigured, match="rights"):
        async with asyncio.timeout(60.0):
            await RabbitBus(visitor).open()
