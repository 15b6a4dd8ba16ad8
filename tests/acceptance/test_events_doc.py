"""The programs that docs/events.md shows, run as they stand there, beside a system on a real broker."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from shared.bus import topology
from shared.bus.rabbit import RabbitBus
from tests.acceptance.cluster import ONE_BUCKET, Cluster
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import TICKER, Api, eventually, generic
from tests.brokers import Broker, vhost_of
from tests.rabbitmqctl import lines_of, typed
from tests.s3server import KEYS, S3Server

Listen = Callable[[str, str | Sequence[str], str], "Listener"]
Attempt = Callable[[AbstractChannel], Awaitable[None]]
DOCUMENT = Path(__file__).parents[2] / "docs/events.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASK, FOLLOW_RUN, FOLLOW_PROJECT = _BLOCK.findall(DOCUMENT.read_text())
RIGHTS = lines_of(DOCUMENT, "listener")
SETTINGS: dict[str, Any] = {"slots": 2, "grace": 1.0, "outside_users": '{"anna": "tester"}'}
"""`tester` is who asks where the acceptance tests run on closed servers."""
LIFE = ["requested", "assigned", "finished"]


def lasting(words: list[str]) -> list[str]:
    """What every run says: a short one may not say `started`, and the news of a long one go by."""
    return [word for word in words if word not in ("started", "progressed", "logged")]


class Listener:
    """One of the programs, in a process of its own."""

    def __init__(self, nursery: Nursery, folder: Path, program: str, arguments: Sequence[str], broker: str) -> None:
        folder.mkdir()
        (folder / "follow.py").write_text(program)
        self._heard, self._complaints = folder / "stdout", folder / "stderr"
        self._heard.touch()
        self._complaints.touch()
        self._process = nursery.begin(
            list(arguments),
            environment={**os.environ, "PYTHONWARNINGS": "error", "VOXLOOM_BROKER": broker, "VOXLOOM_OUTSIDE": broker},
            output=self._heard,
            log=self._complaints,
            cwd=folder,
            module=str(folder / "follow.py"),
        )

    @property
    def lines(self) -> list[str]:
        return self._heard.read_text().splitlines()

    @property
    def words(self) -> list[str]:
        """The first of every line."""
        return [line.split()[0] for line in self.lines]

    @property
    def complaints(self) -> str:
        return self._complaints.read_text()

    def wait_for(self, word: str) -> None:
        eventually(lambda: self._process.poll() is not None or word in self.words, what=f"hearing of {word}")
        assert word in self.words, self.complaints

    def end(self, within: float = 120.0) -> int:
        """The exit code of one that ends by itself."""
        return self._process.wait(within)

    def close(self) -> None:
        self._process.signal(signal.SIGKILL)
        self._process.wait(30.0)


@pytest.fixture
def listen(tmp_path: Path, nursery: Nursery) -> Iterator[Listen]:
    listeners: list[Listener] = []

    def make(program: str, argument: str | Sequence[str], broker: str) -> Listener:
        arguments = [argument] if isinstance(argument, str) else argument
        listeners.append(Listener(nursery, tmp_path / f"listener{len(listeners)}", program, arguments, broker))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, s3_server: S3Server, nursery: Nursery, outside: str
) -> Iterator[Cluster]:
    """One for all: nobody who listens can change it."""
    folder = tmp_path_factory.mktemp("listened-to")
    places = broker.new_vhost(), s3_server.url(ONE_BUCKET), KEYS
    cluster = Cluster(folder, *places, nursery, leave=broker.remove_vhost, outside=outside, **SETTINGS).start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def outside(broker: Broker) -> Iterator[str]:
    """The URL under which gateways come into the vhost for others, as the document makes it."""
    vhost, password = f"outside-{secrets.token_hex(4)}", "a-password"
    told = {"outside": vhost, "PASSWORD": password}
    setting_up = [
        line
        for name in ("add_vhost", "doorkeeper", "listeners", "set_vhost_limits")
        for line in lines_of(DOCUMENT, name)
    ]
    typed(broker, setting_up, **told)
    typed(broker, lines_of(DOCUMENT, "anna"), **told, lab1="default")
    yield broker.url_of(vhost, "doorkeeper", password)
    broker.remove_vhost(broker.url_of(vhost))


@pytest.fixture(scope="module")
def broker_url(cluster: Cluster) -> str:
    return cluster.environment["VOXLOOM_BROKER"]


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    return cluster.api()


@pytest.fixture(scope="module")
def ticker(api: Api) -> str:
    return api.deployed(generic("ticker", TICKER))


def test_one_run_is_followed_to_its_end(listen: Listen, api: Api, ticker: str, broker_url: str) -> None:
    # Given a run that goes on, and another that has ended
    run = api.execute(ticker, additional_parameters={"steps": 100_000})
    ended = str(api.run(ticker, additional_parameters={"steps": 1})["execution_id"])
    listener, late = (listen(FOLLOW_RUN, one, broker_url) for one in (run, ended))
    # When it is stopped once its beginning has been heard
    listener.wait_for("started")
    assert api.stop(run).status_code == 200
    # Then both are told to their end, each its own
    assert [(one.end(), one.complaints) for one in (listener, late)] == [(0, ""), (0, "")]
    assert listener.words == [
        "requested",
        "assigned",
        "started",
        "stop-requested",
        "stop-passed",
        "finished",
        "stopped",
    ]
    assert lasting(late.words) == [*LIFE, "completed"]


def test_a_project_is_followed_with_its_progress_and_its_logs(
    listen: Listen, api: Api, ticker: str, broker_url: str
) -> None:
    # Given somebody who listens: they hear the workers' heartbeats
    listener = listen(FOLLOW_PROJECT, "default", broker_url)
    eventually(lambda: any(word.startswith("worker.heartbeat.default.") for word in listener.words), what="a heartbeat")
    # When a run goes through
    run = str(api.run(ticker, additional_parameters={"steps": 20})["execution_id"])
    # Then its life is heard, in order, and its news
    eventually(lambda: f"execution.completed.default.{run}" in listener.words, what="hearing of the end")
    heard = [word.split(".")[1] for word in listener.words if word.endswith(run)]
    assert lasting(heard) == [*LIFE, "completed"]
    assert "progressed" in heard


def test_a_project_hears_nothing_of_another(listen: Listen, api: Api, ticker: str, broker_url: str) -> None:
    # Given somebody who listens to a project of which there is one piece of news
    listener = listen(FOLLOW_PROJECT, "other", broker_url)
    news = "execution.progressed.other.some-run"
    eventually(lambda: asyncio.run(say(broker_url, news)) or listener.lines, what="hearing of it")
    # When a run of another project goes through, then they hear nothing of it
    api.run(ticker, additional_parameters={"steps": 5})
    before = len(listener.lines)
    asyncio.run(say(broker_url, news))
    eventually(lambda: len(listener.lines) > before, what="hearing of the next")
    assert (set(listener.words), listener.complaints) == ({news}, "")


async def say(broker: str, routing_key: str) -> None:
    async with await aio_pika.connect(broker) as connection:
        exchange = await (await connection.channel()).get_exchange("live")
        await exchange.publish(aio_pika.Message(b"{}"), routing_key)


@pytest.mark.parametrize(("program", "argument"), [(FOLLOW_RUN, "no-run"), (FOLLOW_PROJECT, "default")])
def test_a_lost_connection_is_said(listen: Listen, broker: Broker, program: str, argument: str) -> None:
    # Given somebody who listens
    url = broker.new_vhost()
    asyncio.run(declare(url))
    listener = listen(program, argument, url)
    eventually(lambda: any(one.get("consumers") for one in broker.queues(url)), what="listening")
    # When the connection is lost
    broker.close_connections_in(url)
    # Then they do not go on as if nothing could come any more
    assert listener.end() == 1
    assert "The broker has gone away." in listener.complaints


async def declare(url: str) -> None:
    """All that every system has."""
    bus = RabbitBus(url)
    await bus.open()
    await bus.declare(*topology.ALL)
    await bus.close()


# --- others, who ask ------------------------------------------------------------------------------------------


def test_a_run_is_asked_for_by_a_message_and_followed(listen: Listen, api: Api, broker: Broker, outside: str) -> None:
    # Given somebody with the rights of the document
    api.deployed(generic("asked-for", "pass"))
    anna = broker.url_of(vhost_of(outside), "anna", "a-password")
    # When they ask for one algorithm that is there, and for one that is not
    good, wrong = (listen(ASK, ["default", "anna", "asked-for", major], anna) for major in ("1", "9"))
    # Then they follow the run to its end, and are told what is wrong
    assert [(one.end(), one.complaints) for one in (good, wrong)] == [(0, ""), (0, "")]
    assert [word for word in good.words if word != "started"] == ["requested", "assigned", "completed"]
    assert wrong.words == ["rejected"]
    assert "algorithm_not_found" in wrong.lines[0]


# --- somebody who may listen, and nothing else ------------------------------------------------------------


@pytest.fixture(scope="module")
def listener_url(broker: Broker, broker_url: str) -> str:
    """Of a user who has been given the rights that the document tells of."""
    vhost, password = vhost_of(broker_url), "a-password"
    for line in RIGHTS:
        told = {"voxloom": vhost, "PASSWORD": password}
        broker.control(*(told.get(word, word) for word in shlex.split(line)))
    return broker.url_of(vhost, "listener", password)


def test_who_may_listen_can_follow_both(listen: Listen, api: Api, ticker: str, listener_url: str) -> None:
    project = listen(FOLLOW_PROJECT, "default", listener_url)
    eventually(lambda: project.lines, what="hearing of the project")
    run = str(api.run(ticker, additional_parameters={"steps": 1})["execution_id"])
    listener = listen(FOLLOW_RUN, run, listener_url)
    assert (listener.end(), lasting(listener.words), listener.complaints) == (0, [*LIFE, "completed"], "")
    eventually(lambda: f"execution.completed.default.{run}" in project.words, what="hearing of the end")


async def publish(channel: AbstractChannel) -> None:
    exchange = await channel.get_exchange("events", ensure=False)
    await exchange.publish(aio_pika.Message(b"{}"), "execution.requested.default.x")


async def send(channel: AbstractChannel) -> None:
    await channel.default_exchange.publish(aio_pika.Message(b"{}"), "recorder")


async def take(channel: AbstractChannel) -> None:
    await (await channel.get_queue("recorder", ensure=False)).get(fail=False)


async def empty(channel: AbstractChannel) -> None:
    await (await channel.get_queue("scheduler", ensure=False)).purge()


async def unbind(channel: AbstractChannel) -> None:
    await (await channel.get_queue("recorder", ensure=False)).unbind("events", "deploy.#")


async def delete_stream(channel: AbstractChannel) -> None:
    await channel.queue_delete("events")


async def delete_exchange(channel: AbstractChannel) -> None:
    await channel.exchange_delete("live")


async def keep_a_queue(channel: AbstractChannel) -> None:
    await channel.declare_queue("mine", durable=True)


@pytest.mark.parametrize("attempt", [publish, send, take, empty, unbind, delete_stream, delete_exchange, keep_a_queue])
def test_who_may_listen_can_do_nothing_else(listener_url: str, attempt: Attempt) -> None:
    with pytest.raises(ChannelAccessRefused):
        asyncio.run(tried(listener_url, attempt))


async def tried(url: str, attempt: Attempt) -> None:
    async with asyncio.timeout(30), await aio_pika.connect(url) as connection:
        await attempt(await connection.channel())
