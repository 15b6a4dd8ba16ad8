"""RabbitMQ: what every bus does, and what only this one promises."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiormq
import pytest
from pamqp.commands import Basic

from messages.files import FileUploaded
from messages.runs import Result, RunAssigned, RunCompleted, RunHandedOver, RunProgressed
from messages.wire import PREFIX, encode
from services.gateway.views.overlap import overlap_with
from shared.bus import topology
from shared.bus.amqp import engine, publisher
from shared.bus.amqp.receivers import Receiver
from shared.bus.base import Queue
from shared.bus.rabbit import RabbitBus
from shared.outages import Seldom
from tests.brokers import Broker
from tests.contract.bus_behaviour import BusBehaviour
from tests.contract.bus_tools import QUICK, Footing, Inbox, StreamInbox, numbers, until
from tests.named import A
from tests.s3server import S3Server
from tests.unit.memory_platform import WORK
from voxloom.errors import BusUnavailable, Misconfigured
from voxloom.ids import new_id
from voxloom.models import utc_now

QUEUE = Queue("uploads", ("file.uploaded.#",), QUICK, batch=100)
Opened = Callable[[str], Awaitable[RabbitBus]]


class RabbitFooting(Footing):
    """A bus on a vhost of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bus: RabbitBus = RabbitBus(url)

    async def reopen(self) -> RabbitBus:
        await self.bus.close()
        self.bus = RabbitBus(self.url)
        await self.bus.open()
        return self.bus


@pytest.fixture(scope="module")
def vhost(broker: Broker) -> Iterator[str]:
    yield (url := broker.new_vhost())
    broker.remove_vhost(url)


@pytest.fixture
async def footing(vhost: str) -> AsyncIterator[RabbitFooting]:
    footing = RabbitFooting(vhost)
    await footing.bus.open()
    yield footing
    await footing.bus.close()


class TestRabbitBus(BusBehaviour):
    """All of it."""


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    buses: list[RabbitBus] = []

    async def make(url: str) -> RabbitBus:
        buses.append(RabbitBus(url))
        await buses[-1].open()
        return buses[-1]

    yield make
    for bus in buses:
        await bus.close()


async def test_a_time_of_ours_is_found_on_the_stream_whatever_the_brokers_clock(opened: Opened, vhost: str) -> None:
    bus, inbox = await opened(vhost), StreamInbox(project := f"t{new_id()}")
    moment = utc_now()
    await bus.publish(FileUploaded(subject="a", project=project, size=1, etag="e"))
    overlap = await overlap_with(bus)
    await bus.follow(inbox.take, since=moment - overlap if overlap else datetime.fromtimestamp(0, UTC))
    await inbox.has("a")


def uploaded(subject: str, etag: str = "e") -> FileUploaded:
    return FileUploaded(subject=subject, size=1, etag=etag)


async def settle_in(bus: RabbitBus, inbox: Inbox) -> None:
    """RabbitMQ 3.10 may lose a queue that is killed within a second of its making, so it gets some time."""
    await bus.publish(uploaded("first"))
    await inbox.has("first")
    await asyncio.sleep(1.5)


async def publish_without_end(bus: RabbitBus, said: list[str]) -> None:
    for number in itertools.count():
        await bus.publish(uploaded(str(number)))
        said.append(str(number))


# --- brokers that go, come back or are in need ---


def in_the_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server's log would have of all that was said of the broker."""
    seldom = Seldom()
    return [line.getMessage() for line in caplog.records if line.name == "voxloom.bus" and seldom.filter(line)]


async def test_the_stream_of_an_earlier_version_hears_no_inbox_any_more(broker: Broker, opened: Opened) -> None:
    # Given a stream that is bound to all there is
    url = broker.new_vhost()
    await (await opened(url)).close()
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_bind("events", "events", "#")
    await connection.close()
    # When a bus of today is opened
    bus, inbox = await opened(url), StreamInbox("p")
    await bus.follow(inbox.take)
    told: dict[str, Any] = {
        "subject": A,
        "project": "p",
        "epoch": 1,
        "worker_id": "w",
        "device_class": "cpu",
        "incarnation": "i",
    }
    await bus.publish(RunHandedOver(**told, work=WORK), RunAssigned(**told))
    # Then what is said to one worker is not in it
    await inbox.has(A)
    assert [type(event) for event in inbox.events] == [RunAssigned]


async def test_a_queue_hears_no_more_what_an_earlier_version_has_bound_it_to(broker: Broker, opened: Opened) -> None:
    # Given a queue with such a binding
    url = broker.new_vhost()
    bus = await opened(url)
    await bus.declare(topology.RECORDER, topology.SWEEPER)
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_bind("sweeper", "events", "execution.completed.#")
    await connection.close()
    # When a process of today declares it
    later = await opened(url)
    await later.declare(topology.RECORDER, topology.SWEEPER)
    await later.publish(RunCompleted(subject=A, attempt=1, epoch=1, result=Result()))
    # Then it gets nothing by it
    waiting = {one.name: one.waiting for one in await later.stats()}
    assert (waiting["recorder"], waiting["sweeper"]) == (1, 0)


async def test_after_a_restart_of_the_broker_publishers_and_receivers_go_on_where_they_were(
    own_broker: Broker, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # Given somebody who publishes without end, and who receives in each of the three ways
    publisher_bus, bus = await opened(url := own_broker.new_vhost()), await opened(url)
    inbox, stream, heard = Inbox(), StreamInbox("default"), list[str]()
    receivers = [
        await bus.consume(QUEUE, inbox),
        await bus.follow(stream.take),
        await bus.listen(["#"], lambda event: heard.append(event.subject)),
    ]
    await settle_in(bus, inbox)
    said: list[str] = []
    publishing = asyncio.create_task(publish_without_end(publisher_bus, said))
    await until(lambda: len(said) > 100)
    # When the broker is killed and comes back
    await asyncio.to_thread(own_broker.kill)
    await until(lambda: not any(receiver.alive for receiver in receivers))
    unwell = await bus.healthy()
    await asyncio.to_thread(own_broker.start)
    after = len(said)
    await until(lambda: len(said) > after + 100, deadline=60.0)
    publishing.cancel()
    await until(bus.healthy, deadline=60.0)
    bus.announce(RunProgressed(subject=A, progress=0.5))
    # Then all that was confirmed arrives, in order but for what comes twice, and all receivers hear
    await inbox.has(*said)
    await stream.has("first", said[-1])
    await until(lambda: heard == [A])
    assert not unwell
    assert [line[:35] for line in in_the_log(caplog)] == [
        *["the broker cannot be used: the conn"] * 2,
        *["the broker can be used again, after"] * 2,
    ]
    firsts = list(dict.fromkeys(inbox.subjects))
    assert firsts == sorted(
        firsts, key=lambda subject: (subject != "first", int(subject) if subject.isdecimal() else 0)
    )


async def test_a_broker_that_has_lost_its_disk_is_furnished_anew(own_broker: Broker, opened: Opened) -> None:
    bus, inbox, stream = await opened(own_broker.url), Inbox(), StreamInbox("default")
    losses: list[str] = []
    await bus.consume(QUEUE, inbox)
    await bus.follow(stream.take, on_loss=lambda: losses.append("found"))
    await settle_in(bus, inbox)
    await stream.has("first")
    await asyncio.to_thread(own_broker.kill)
    own_broker.forget()
    await asyncio.to_thread(own_broker.start)
    await until(bus.healthy, deadline=60.0)
    await bus.publish(uploaded("after"))
    await inbox.has("after")
    await stream.has("after")
    assert losses == ["found"]


async def test_a_broker_in_need_takes_nothing_and_that_shows_until_it_is_over(
    own_broker: Broker, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "PUBLISH_SECS", 1.0)
    bus, inbox = await opened(own_broker.new_vhost()), Inbox()
    await bus.consume(QUEUE, inbox)
    await settle_in(bus, inbox)
    await asyncio.to_thread(own_broker.alarm, True)
    with pytest.raises(BusUnavailable, match="short of memory or disk"):
        await bus.publish(uploaded("refused"))
    unwell = await bus.healthy()
    await asyncio.to_thread(own_broker.alarm, False)
    await until(bus.healthy)
    await bus.publish(uploaded("taken"))
    await inbox.has("taken")
    assert not unwell


async def test_a_broker_that_stands_still_is_left_and_found_again(own_broker: Broker, opened: Opened) -> None:
    bus, inbox = await opened(f"{own_broker.new_vhost()}?heartbeat=1"), Inbox()
    consumer = await bus.consume(QUEUE, inbox)
    await settle_in(bus, inbox)
    own_broker.freeze()
    await until(lambda: not consumer.alive)
    own_broker.thaw()
    await until(bus.healthy, deadline=60.0)
    await bus.publish(uploaded("after"))
    await inbox.has("after")


# --- consumers that the broker lets go ---


async def test_the_consumer_of_a_queue_that_somebody_deletes_is_not_alive(
    broker: Broker, vhost: str, opened: Opened
) -> None:
    bus = await opened(vhost)
    consumer = await bus.consume(replace(QUEUE, name="deleted"), Inbox())
    await asyncio.to_thread(broker.delete_queue, vhost, "deleted")
    await until(lambda: not consumer.alive)
    await until(lambda: not_healthy(bus))


async def not_healthy(bus: RabbitBus) -> bool:
    return not await bus.healthy()


async def test_a_consumer_that_the_broker_has_forgotten_is_found_out_and_begins_anew(
    vhost: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a consumer that the broker has ended without a word to its owner
    monkeypatch.setattr(engine, "WATCH_SECS", 0.05)
    bus, inbox = await opened(vhost), Inbox()
    consumer = await bus.consume(replace(QUEUE, name="forgotten"), inbox)
    session = consumer._session  # type: ignore[attr-defined]
    (tag,) = session.channel.consumers
    await session.channel.basic_cancel(tag)
    # When something comes
    await bus.publish(uploaded("a"))
    # Then it arrives all the same
    await inbox.has("a")


async def test_when_the_active_consumer_loses_its_connection_the_next_goes_on_in_order(
    broker: Broker, vhost: str, opened: Opened
) -> None:
    spec = replace(QUEUE, name="taken-over", single_active=True)
    first, second = Inbox(), Inbox()
    active, standby, says = await opened(vhost), await opened(vhost), await opened(vhost)
    await active.consume(spec, first)
    await standby.consume(spec, second)
    publishing = asyncio.create_task(says.publish(*map(uploaded, numbers(0, 3000))))
    await until(lambda: len(first.subjects) > 100)
    await active.close()
    await publishing
    await second.has("2999")
    assert second.subjects == numbers(int(second.subjects[0]), 3000)
    assert set(first.subjects) | set(second.subjects) == set(numbers(0, 3000))


async def test_who_stops_while_the_broker_is_asked_about_it_is_not_missed(
    vhost: str, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await opened(vhost)
    consumer = await bus.consume(replace(QUEUE, name="stops"), Inbox())
    assert isinstance(consumer, Receiver)

    async def asked(_queue: str) -> int:
        await consumer.close()
        return 0

    await consumer.verify(asked)
    assert "does not know" not in caplog.text


# --- what is wrong from the start ---


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"password": "wrong"}, Misconfigured, "user or the password"),
        ({"vhost": "nowhere"}, Misconfigured, "make the vhost"),
        ({"port": 1}, BusUnavailable, "cannot be reached"),
        ({"scheme": "amqps"}, Misconfigured, "TLS"),
    ],
)
async def test_a_wrong_address_is_one_sentence_without_a_secret(
    broker: Broker, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    parts = {"scheme": "amqp", "password": "guest", "port": urlsplit(broker.url).port, "vhost": "%2F", **change}
    url = f"{parts['scheme']}://guest:{parts['password']}@127.0.0.1:{parts['port']}/{parts['vhost']}"
    with pytest.raises(error, match=says) as told:
        await RabbitBus(url).open()
    assert f":{parts['password']}@" not in str(told.value)


@pytest.mark.parametrize("url", ["http://host/", "amqp://", "amqp://host:port/", "amqp://host/a/b", "nonsense"])
async def test_what_is_no_address_is_refused_before_anybody_is_asked(url: str) -> None:
    with pytest.raises(Misconfigured, match="amqp://user:password@host"):
        RabbitBus(url)


async def test_what_answers_and_is_no_broker_is_told_apart(s3_server: S3Server) -> None:
    port = urlsplit(s3_server.endpoint).port
    with pytest.raises((Misconfigured, BusUnavailable), match=r"AMQP|cannot be reached"):
        await RabbitBus(f"amqp://guest:guest@127.0.0.1:{port}/").open()


async def test_a_queue_that_an_older_version_declared_differently_is_named(vhost: str, opened: Opened) -> None:
    bus = await opened(vhost)
    await bus.declare(replace(QUEUE, name="older"))
    with pytest.raises(Misconfigured, match=r"older.*rabbitmqctl delete_queue"):
        await bus.declare(replace(QUEUE, name="older", single_active=True))
    await bus.publish(uploaded("a"))


async def test_a_user_without_rights_is_told_which_are_missing(broker: Broker, vhost: str) -> None:
    url = broker.add_user("nobody", "secret", url=vhost)
    with pytest.raises(Misconfigured, match="rights"):
        await RabbitBus(url).open()


async def test_whatever_others_publish_leaves_the_queue_and_holds_up_nobody(vhost: str, opened: Opened) -> None:
    # Given a consumer, and a program of somebody else with messages that are no events of ours
    bus, inbox, name = await opened(vhost), Inbox(), "from-others"
    await bus.consume(replace(QUEUE, name=name), inbox)
    keys, headers, body = encode(uploaded("odd"))
    odd: list[dict[str, Any]] = [
        {f"{PREFIX}time": "2026-11-21T02:57:03"},
        {f"{PREFIX}subject": "x" * 5000},
        {f"{PREFIX}subject": "another"},
        {f"{PREFIX}type": {"no": "text"}},
        {f"{PREFIX}type": "none of ours", "x": "y" * 130_500},
        {f"{PREFIX}type": "none of ours", "x": bytearray(b"\xff"), "t": datetime.now(UTC), "n": [None, {"a": 1.5}]},
        {f"{PREFIX}type": "none of ours", "voxloom-keys": 5, "voxloom-tries": -5, "voxloom-letter": [1]},
    ]
    connection = await aiormq.connect(vhost)
    channel = await connection.channel()
    # When they are published
    for more in odd:
        properties = Basic.Properties(headers={**headers, **more})
        await channel.basic_publish(body, exchange="events", routing_key=keys[0], properties=properties)
    await connection.close()
    # Then they are dead letters, and what follows arrives
    await bus.publish(uploaded("good"))
    await inbox.has("good")
    assert inbox.subjects == ["good"]
    letters = [letter for letter in await bus.dead_letters() if letter.queue == name]
    assert len(letters) == len(odd)


async def test_a_large_message_arrives_whole(vhost: str, opened: Opened) -> None:
    bus, inbox = await opened(vhost), Inbox()
    await bus.consume(replace(QUEUE, name="large"), inbox)
    event = uploaded("large", "x" * (9 << 20))
    await bus.publish(event)
    await inbox.has("large")
    assert inbox.events == [event]


async def test_a_cancel_is_never_lost_while_the_broker_is_asked(broker: Broker) -> None:
    """Where a channel is closed, the library takes a cancel for a word of its own."""
    bus, luck = RabbitBus(broker.new_vhost()), random.Random(0)
    await bus.open()
    await bus.declare(*topology.ALL)
    lost = []
    for number in range(300):
        asking = asyncio.create_task(bus.stats() if number % 2 else bus.replay("nothing"))
        await asyncio.sleep(luck.random() * 0.008)
        was_done = asking.done()
        asking.cancel()
        await asyncio.wait([asking], timeout=60.0)
        if not (was_done or asking.cancelled()):
            lost.append(number)
    await bus.close()
    assert lost == []
