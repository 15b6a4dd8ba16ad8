"""All services in one process: they come up together or not at all, and none lives on without the others."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from services import system
from services.system import ServiceDied, ServiceLeft, run
from services.worker.service import Worker
from shared import platform, process_numbers
from shared.bus import topology
from shared.bus.base import Queue
from shared.bus.local import LocalBus
from shared.objects.base import COLLECTIONS
from shared.objects.local import LocalObjectStore
from shared.service import MadeWay, Platform, Service
from shared.settings import Settings
from tests.acceptance.nursery import Nursery
from voxloom.errors import BusUnavailable, InvalidInput, Misconfigured

QUIET = Queue(name="quiet", bindings=("quiet.#",), policy=topology.INGEST.policy)


class Fake(Service):
    """A service that notes what happens to it."""

    said: ClassVar[list[str]] = []

    async def on_start(self) -> None:
        self.said.append(f"{self.name} starts")

    async def on_stop(self) -> None:
        self.said.append(f"{self.name} stops")


class One(Fake):
    name = "one"


class Two(Fake):
    name = "two"


class Front(Fake):
    """In the gateway's place."""

    name = "front"
    url = "http://front"

    def __init__(self, platform: Platform, routes: object = None) -> None:
        super().__init__(platform)


Ready = Callable[[str], None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., asyncio.Task[None]]:
    """Runs a system of these services."""
    Fake.said.clear()
    monkeypatch.setattr("services.gateway.service.Gateway", Front)

    def begin(*kinds: type[Service], ready: Ready = lambda _url: None) -> asyncio.Task[None]:
        return asyncio.create_task(run(Settings(data=tmp_path, port=0), [*kinds, Front], ready))

    return begin


Start = Callable[..., "asyncio.Task[None]"]


async def ends(task: asyncio.Task[None], within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        await task


async def ready(start: Start, *kinds: type[Service]) -> asyncio.Task[None]:
    """A system that is up."""
    is_up = asyncio.Event()
    running = start(*kinds, ready=lambda _url: is_up.set())
    waiting = asyncio.create_task(is_up.wait())
    await asyncio.wait({waiting, running}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    assert is_up.is_set()
    return running


async def test_sigterm_stops_the_services_in_the_opposite_order(start: Start) -> None:
    running = await ready(start, One, Two)
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running)
    assert Fake.said == ["one starts", "two starts", "front starts", "front stops", "two stops", "one stops"]


async def test_a_service_that_cannot_start_stops_those_that_have_and_says_why(start: Start) -> None:
    class Broken(Fake):
        name = "broken"

        async def on_start(self) -> None:
            raise Misconfigured("The port is taken.")

    with pytest.raises(Misconfigured, match="port is taken"):
        await ends(start(One, Broken, Two))
    assert Fake.said == ["one starts", "broken stops", "one stops"]


async def test_a_service_that_dies_takes_the_others_with_it(start: Start) -> None:
    class Dying(Fake):
        name = "dying"

        async def on_start(self) -> None:
            self.spawn("heart", self._fail())

        async def _fail(self) -> None:
            raise ValueError("no more.")

    with pytest.raises(ServiceDied, match=r"^the dying \(no more\)$"):
        await ends(start(One, Dying, Two))
    assert Fake.said[-1] == "one stops"


async def test_a_service_that_makes_way_for_another_ends_the_process_and_is_no_error(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    class Second(Fake):
        name = "second"

        async def on_start(self) -> None:
            self.fail(MadeWay("another one decides"))

    with pytest.raises(ServiceLeft, match=r"^the second \(another one decides\)$"):
        await ends(start(Second))
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []


async def test_a_service_that_hears_nothing_any_more_takes_the_others_with_it(start: Start) -> None:
    class Deaf(Fake):
        name = "deaf"

        async def on_start(self) -> None:
            self.inbox = self.keep(await self.bus.consume(QUIET, self._hear))
            self.spawn("loss", self._lose())

        async def _hear(self, events: Sequence[Any]) -> None: ...

        async def _lose(self) -> None:
            await self.bus.delete_queue(QUIET.name)
            await asyncio.Event().wait()

    with pytest.raises(ServiceDied, match="the deaf"):
        await ends(start(One, Deaf))


async def test_a_service_that_dies_while_another_is_still_starting_ends_the_start(start: Start) -> None:
    class Dying(Fake):
        name = "dying"

        async def on_start(self) -> None:
            self.fail(ValueError("dead on arrival"))

    class Slow(Fake):
        name = "slow"

        async def on_start(self) -> None:
            await asyncio.sleep(60)

    with pytest.raises(ServiceDied, match="dead on arrival"):
        await ends(start(Dying, Slow), within=30)


async def test_sigterm_during_the_start_ends_it(start: Start) -> None:
    begun = asyncio.Event()

    class Slow(Fake):
        name = "slow"

        async def on_start(self) -> None:
            begun.set()
            await asyncio.sleep(60)

    running = start(One, Slow)
    await begun.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running, within=30)
    assert Fake.said == ["one starts", "slow stops", "one stops"]


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_service_that_does_not_stop_keeps_no_other_from_stopping(
    start: Start, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "STOP_SECS", 0.1)

    class Stubborn(Fake):
        name = "stubborn"

        async def on_stop(self) -> None:
            if how == "raises":
                raise ValueError("no")
            await asyncio.sleep(60)

    running = await ready(start, One, Stubborn)
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running, within=30)
    assert Fake.said[-1] == "one stops"


async def test_a_second_signal_lets_the_worker_hurry(start: Start) -> None:
    class Busy(Worker):
        async def on_start(self) -> None: ...

        async def stop(self) -> None:
            Fake.said.append("busy drains")
            await self._hurry.wait()

    running = await ready(start, One, Busy)
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = time.monotonic() + 30
    while "busy drains" not in Fake.said and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not running.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running, within=30)
    assert Fake.said[-1] == "one stops"


async def test_a_side_task_that_dies_without_a_reader_of_its_error_is_still_seen(tmp_path: Path) -> None:
    class Dying(Fake):
        name = "dying"

    service = Dying.__new__(Dying)
    Service.__init__(service, Platform(bus=None, store=None, settings=Settings(data=tmp_path)))  # type: ignore[arg-type]  # it stands on nothing
    service.spawn("side", _raise())
    await asyncio.wait([service.failed], timeout=30)
    await service.stop()
    assert isinstance(service.failed.exception(), ValueError)


async def _raise() -> None:
    raise ValueError("dead")


DIES = """
import asyncio, sys
from services.recorder.service import Recorder
start = Recorder.on_start

async def on_start(self):
    await start(self)
    self.spawn("bad", bad())

async def bad():
    await asyncio.sleep(0.3)
    raise OSError("its heart stood still")

Recorder.on_start = on_start
sys.argv = ["voxloom", "up", "--port", "0", "--data", sys.argv[1]]
from voxloom.cli.main import main
main()
"""


def test_the_process_of_a_service_that_died_ends_with_code_3_and_one_sentence(nursery: Nursery, tmp_path: Path) -> None:
    program = tmp_path / "dies.py"
    program.write_text(DIES)
    done = nursery.run(str(tmp_path / "data"), environment=dict(os.environ), cwd=tmp_path, module=str(program))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 3
    assert last == (
        "Voxloom stopped because a service died: the recorder (its heart stood still). The log above says where."
    )
    assert "Traceback" not in last


# --- services apart ---------------------------------------------------------------------------------------------------


class Absent(LocalBus):
    """A broker that does not answer the first times it is asked."""

    refusals = 0

    async def open(self) -> None:
        if Absent.refusals > 0:
            Absent.refusals -= 1
            raise BusUnavailable("The broker does not answer.")
        await super().open()


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., asyncio.Task[None]]:
    """Runs services whose broker and store are others'; here in truth embedded."""
    Fake.said.clear()
    monkeypatch.setattr(system, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(platform, "make_bus", lambda settings: Absent(settings.data / "bus"))
    monkeypatch.setattr(platform, "make_store", lambda settings: LocalObjectStore(settings.data / "objects"))

    def begin(*kinds: type[Service], refusals: int, ready: Ready = lambda _url: None) -> asyncio.Task[None]:
        Absent.refusals = refusals
        settings = Settings(data=tmp_path, broker="amqp://elsewhere", store="s3://elsewhere")
        return asyncio.create_task(run(settings, kinds, ready))

    return begin


async def test_services_apart_wait_for_a_broker_that_does_not_answer_and_say_so_once(
    apart: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    is_up = asyncio.Event()
    running = apart(One, refusals=3, ready=lambda _url: is_up.set())
    async with asyncio.timeout(60.0):
        await is_up.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running)
    assert Fake.said == ["one starts", "one stops"]
    assert [line.getMessage() for line in caplog.records if line.name == "voxloom.system"] == [
        "cannot start yet, and tries again: The broker does not answer.",
        "could start, after 0 s (3 tries)",
        "stopping: new work is refused, running work may go on for a while",
    ]


class House(Fake):
    name = "house"
    keeps_house = True


@pytest.mark.parametrize(("kinds", "told"), [([One], set()), ([One, House], set(COLLECTIONS))])
async def test_one_service_says_for_all_how_long_the_store_keeps_what(
    apart: Start, monkeypatch: pytest.MonkeyPatch, kinds: list[type[Service]], told: set[str]
) -> None:
    heard: set[str] = set()

    async def hear(_store: LocalObjectStore, collection: str, _days: float | None) -> None:
        heard.add(collection)

    monkeypatch.setattr(LocalObjectStore, "set_expiry", hear)
    is_up = asyncio.Event()
    running = apart(*kinds, refusals=0, ready=lambda _url: is_up.set())
    async with asyncio.timeout(60.0):
        await is_up.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running)
    assert heard == told


async def test_sigterm_ends_the_waiting(apart: Start) -> None:
    running = apart(One, refusals=10_000)
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running, within=30)
    assert Fake.said == []


async def test_what_waiting_cannot_mend_ends_services_apart_at_once(apart: Start) -> None:
    class Broken(Fake):
        name = "broken"

        async def on_start(self) -> None:
            raise Misconfigured("The vhost is missing.")

    with pytest.raises(Misconfigured, match="vhost"):
        await ends(apart(Broken, refusals=1))


async def test_workers_that_share_a_node_have_names_of_their_own(apart: Start, tmp_path: Path) -> None:
    seat = process_numbers.take(tmp_path / "workers")

    class Named(Worker):
        async def on_start(self) -> None:
            Fake.said.append(self.settings.worker_id)

        async def stop(self) -> None: ...

    is_up = asyncio.Event()
    running = apart(Named, refusals=0, ready=lambda _url: is_up.set())
    async with asyncio.timeout(60.0):
        await is_up.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await ends(running)
    seat.leave()
    assert Fake.said == [f"{Settings(data=tmp_path).worker_id}-2"]


def test_services_are_chosen_by_name_and_start_in_their_order() -> None:
    assert [kind.name for kind in system.chosen(["gateway", "worker", "recorder"])] == ["recorder", "worker", "gateway"]


def test_a_service_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"no service 'worke'.*recorder, scheduler, .*gateway"):
        system.chosen(["worke"])


@pytest.mark.parametrize("told", [[], ["--broker", "amqp://b"], ["--store", "s3://s"]])
def test_services_apart_need_a_broker_and_a_store(told: list[str], tmp_path: Path, nursery: Nursery) -> None:
    done = nursery.run("serve", "worker", "--data", str(tmp_path), *told, environment=dict(os.environ), cwd=tmp_path)
    assert done.returncode == 2
    assert "--broker amqp://" in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_on_one_machine_the_gateway_serves_signed_urls_and_no_subscription_comes_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    store = platform.make_store(settings)
    assert store.served is store
    assert not platform.make_bus(settings).reconnects


async def test_on_many_machines_the_store_serves_its_own_urls_and_subscriptions_come_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, broker="amqp://elsewhere", store="s3://elsewhere")
    assert platform.make_store(settings).served is None
    assert platform.make_bus(settings).reconnects
