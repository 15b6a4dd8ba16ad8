"""Services apart that are told wrong things: one sentence, the same from the service and from the doctor."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.bus import topology
from shared.bus.rabbit import RabbitBus
from tests.acceptance.cluster import ONE_BUCKET, OPERATIONS, Process
from tests.acceptance.nursery import Child, Nursery
from tests.acceptance.support import eventually
from tests.brokers import Broker, free_ports
from tests.s3server import KEYS, S3Server

CANNOT_START = 2
Environment = Callable[..., dict[str, str]]
Serve = Callable[[Mapping[str, str]], tuple[int, str]]
Start = Callable[[Mapping[str, str]], Child]
Doctor = Callable[[Mapping[str, str]], str]


@pytest.fixture
def environment(broker: Broker, s3_server: S3Server, tmp_path: Path) -> Iterator[Environment]:
    """What a service is told, but for what a test tells it otherwise."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("VOXLOOM_", "AWS_"))}

    made: list[str] = []

    def make(**told: str) -> dict[str, str]:
        made.append(broker.new_vhost())
        places = {"VOXLOOM_BROKER": made[-1], "VOXLOOM_STORE": s3_server.url(ONE_BUCKET)}
        return {**clean, **KEYS, **places, "VOXLOOM_DATA": str(tmp_path / "data"), **told}

    yield make
    for url in made:
        broker.remove_vhost(url)


@pytest.fixture
def start(tmp_path: Path, nursery: Nursery) -> Iterator[Start]:
    started: list[Child] = []

    def begin(environment: Mapping[str, str]) -> Child:
        (log := tmp_path / "log").touch()
        words = ["serve", "recorder"]
        started.append(nursery.begin(words, environment=environment, output=log, log=log, cwd=tmp_path))
        return started[-1]

    yield begin
    for process in started:
        process.signal(signal.SIGKILL)
        process.wait(60.0)


@pytest.fixture
def serve(nursery: Nursery, tmp_path: Path) -> Serve:
    """Exit code and last line of a service that cannot start."""

    def call(environment: Mapping[str, str]) -> tuple[int, str]:
        done = nursery.run("serve", "recorder", environment=environment, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr.splitlines()[-1]

    return call


@pytest.fixture
def doctor(nursery: Nursery, tmp_path: Path) -> Doctor:
    def call(environment: Mapping[str, str]) -> str:
        done = nursery.run("doctor", environment={**environment, "COLUMNS": "1000"}, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        return " ".join(done.stdout.split())

    return call


def wrong_password(broker: Broker) -> str:
    return broker.new_vhost().replace("guest:guest", "guest:hunter2")


def wrong_vhost(broker: Broker) -> str:
    return broker.url_of("nowhere")


def no_rights(broker: Broker) -> str:
    return broker.add_user("visitor", "hunter2", url=broker.new_vhost(), read=".*")


def declared_by_others(broker: Broker) -> str:
    url = broker.new_vhost()

    async def declare() -> None:
        bus = RabbitBus(url)
        await bus.open()
        await bus.declare(replace(topology.RECORDER, single_active=False))
        await bus.close()

    asyncio.run(declare())
    return url


@pytest.mark.parametrize(
    ("make_url", "says"),
    [
        (wrong_password, "refuses the user or the password"),
        (wrong_vhost, "make the vhost"),
        (no_rights, "give its user the rights"),
        (declared_by_others, "rabbitmqctl delete_queue"),
    ],
)
def test_a_broker_that_waiting_does_not_mend_ends_the_start_with_one_sentence(
    broker: Broker,
    environment: Environment,
    serve: Serve,
    doctor: Doctor,
    make_url: Callable[[Broker], str],
    says: str,
) -> None:
    told = environment(VOXLOOM_BROKER=make_url(broker))
    code, line = serve(told)
    assert (code, says in line) == (CANNOT_START, True), line
    assert says in (seen := doctor(told)), seen
    assert "hunter2" not in line + seen


def test_a_store_that_does_not_know_us_ends_the_start_with_one_sentence(
    environment: Environment, serve: Serve, doctor: Doctor
) -> None:
    told = environment(AWS_SECRET_ACCESS_KEY="hunter2hunter2")
    code, line = serve(told)
    assert (code, "AWS_SECRET_ACCESS_KEY" in line) == (CANNOT_START, True), line
    seen = eventually(lambda: ("AWS_SECRET_ACCESS_KEY" in (said := doctor(told))) and said, what="the doctor's word")
    assert "hunter2" not in line + seen


@pytest.mark.parametrize(("setting", "scheme"), [("VOXLOOM_BROKER", "amqp"), ("VOXLOOM_STORE", "s3")])
def test_what_cannot_be_reached_is_waited_for_and_then_used(
    environment: Environment,
    start: Start,
    doctor: Doctor,
    tmp_path: Path,
    setting: str,
    scheme: str,
) -> None:
    # Given a broker or a store that is not there
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    places = {"amqp": f"amqp://guest:guest@{address}/", "s3": f"s3://x-?endpoint=http://{address}"}
    told = environment(**{setting: places[scheme]})
    # When a service starts, then it says so and tries again, until it is told to stop
    process = start(told)
    log = tmp_path / "log"
    eventually(lambda: "cannot start yet" in log.read_text(), what="a try in vain")
    assert "Traceback" not in log.read_text()
    process.signal(signal.SIGTERM)
    assert process.wait(10.0) == 0
    assert "cannot be used" in doctor(told)


def test_a_service_that_was_early_starts_once_the_broker_is_there(
    broker: Broker, environment: Environment, start: Start, tmp_path: Path
) -> None:
    # Given a service that finds no broker at its address
    url = broker.new_vhost()
    (port,) = free_ports(1)
    process = start(environment(VOXLOOM_BROKER=url.replace(f":{urlsplit(url).port}/", f":{port}/")))
    log = tmp_path / "log"
    eventually(lambda: "cannot start yet" in log.read_text(), what="a try in vain")
    # When there is one, then the service starts
    with forwarded(port, to=urlsplit(url).port):
        eventually(lambda: "is ready" in log.read_text(), within=60.0, what="the start")
        assert process.poll() is None


@contextmanager
def forwarded(port: int, *, to: int | None) -> Iterator[None]:
    """What connects to one port of this machine reaches the other."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", to)) as there:
                back = threading.Thread(target=pour, args=[there, self.request], daemon=True)
                back.start()
                pour(self.request, there)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Forward) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_services_apart_need_a_broker_and_a_store(serve: Serve, tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VOXLOOM_")}
    code, line = serve({**clean, "VOXLOOM_DATA": str(tmp_path)})
    assert (code, "--broker amqp://" in line, "--store s3://" in line) == (CANNOT_START, True, True)


def test_the_doctor_is_content_with_a_broker_and_a_store_that_do_what_they_must(
    environment: Environment, doctor: Doctor
) -> None:
    seen = doctor(environment())
    assert seen.count("answers, and does what it must") == 2


def test_services_on_different_stores_find_out_and_say_which_one_it_is(
    broker: Broker, s3_server: S3Server, environment: Environment, doctor: Doctor, tmp_path: Path, nursery: Nursery
) -> None:
    # Given two services on one broker, one of which was told another store
    told = environment()
    wrong = {**told, "VOXLOOM_STORE": s3_server.url(ONE_BUCKET)}
    processes = [
        Process("recorder-1", tmp_path, tmp_path / "a", told, nursery),
        Process("ingest-1", tmp_path, tmp_path / "b", wrong, nursery),
    ]
    try:
        for process in processes:
            process.wait_until_ready()
        # Then both find out, say so once in the log, and name the other where they are asked whether they are ready
        for process, other in zip(processes, ["ingest", "recorder"], strict=True):
            (line,) = eventually(functools.partial(of_strangers, process), what="a word of it")
            assert f" ERROR voxloom.neighbours: the {other} on " in line
            answer = OPERATIONS.get(f"{process.ops}/readyz")
            assert (answer.status_code, f"the {other} on " in answer.json()["detail"]) == (503, True)
        # And so does the doctor
        assert "not all of 2 processes use this store. The ingest on " in doctor(told)
    finally:
        for process in processes:
            process.signal(signal.SIGTERM)
        assert [process.wait(60.0) for process in processes] == [0, 0]


def of_strangers(process: Process) -> list[str]:
    return [line for line in process.log.read_text().splitlines() if "another object store" in line]
