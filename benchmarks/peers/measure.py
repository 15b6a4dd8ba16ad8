"""Each peer on the same broker, one after the other, with as many worker processes as there are cores."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.children import Loader, child, loader
from benchmarks.cost import Cost, timed
from benchmarks.cpu import Root
from benchmarks.peers.environments import WANTED, NotThere, python_of
from tests.brokers import Broker, free_ports

START_SECS = 60.0
PROCESSES = str(os.cpu_count() or 1)


@dataclass(frozen=True)
class Peer:
    """One that works on RabbitMQ."""

    name: str
    environment: str
    module: str
    worker: tuple[str, ...]
    """What its Python is told."""
    durable: str
    env: Mapping[str, str] = field(default_factory=dict)


CELERY = (
    *("-m", "celery", "-A", "benchmarks.peers.celery_noop", "worker", "--pool", "prefork", "--concurrency", PROCESSES),
    *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"),
)
TASKIQ = (
    "-m",
    "taskiq",
    "worker",
    "benchmarks.peers.taskiq_noop:broker",
    "--workers",
    PROCESSES,
    "--log-level",
    "WARNING",
)
DRAMATIQ = ("-m", "dramatiq", "benchmarks.peers.dramatiq_noop", "--processes", PROCESSES)
CONFIRMED = {"BENCH_DURABLE": "1"}

PEERS = (
    Peer("Celery, as it comes", "celery", "benchmarks.peers.celery_noop", CELERY,
         "task: durable queue, persistent, not confirmed, acknowledged before it runs. "
         "Result: a queue of the client that goes with it. No record"),
    Peer("Celery, quorum queue, confirms, late acknowledgements", "celery", "benchmarks.peers.celery_noop", CELERY,
         "task: quorum queue, persistent, confirmed, acknowledged when it has ended. "
         "Result: a queue of the client that goes with it. No record", CONFIRMED),
    Peer("taskiq-aio-pika", "taskiq", "benchmarks.peers.taskiq_noop", TASKIQ,
         "task: quorum queue, persistent, confirmed, acknowledged when it has ended. No result, no record"),
    Peer("dramatiq, as it comes", "dramatiq", "benchmarks.peers.dramatiq_noop", DRAMATIQ,
         "task: durable queue, persistent, not confirmed, acknowledged when it has ended. No result, no record"),
    Peer("dramatiq, confirms", "dramatiq", "benchmarks.peers.dramatiq_noop", DRAMATIQ,
         "task: durable queue, persistent, confirmed, acknowledged when it has ended. No result, no record",
         CONFIRMED),
)  # fmt: skip
COMPOX = "Compox, store in memory"
COMPOX_DURABLE = "nothing: tasks and records are in the server's memory"


@dataclass(frozen=True)
class Compared:
    """A row of the comparison."""

    name: str
    durable: str
    cost: Cost | None = None
    missing: str = ""
    """Why there are no figures."""


async def measure() -> list[Compared]:
    with tempfile.TemporaryDirectory(prefix="voxloom-peers-") as name:
        folder = Path(name)
        broker = Broker(folder / "broker")
        await asyncio.to_thread(broker.start)
        try:
            rows = [await _tried(peer.name, peer.durable, peer.environment, folder, broker, peer) for peer in PEERS]
            return [*rows, await _tried(COMPOX, COMPOX_DURABLE, "compox", folder, broker)]
        finally:
            await asyncio.to_thread(broker.kill)


async def _tried(
    name: str, durable: str, environment: str, folder: Path, broker: Broker, peer: Peer | None = None
) -> Compared:
    """One that cannot be installed or does not work is told of, and does not stop the others."""
    log = folder / f"{name}.log"
    title = f"{name} ({', '.join(WANTED[environment]).replace('==', ' ')})"
    try:
        python = await asyncio.to_thread(python_of, environment)
        cost = await (_compox(name, python, folder, log) if peer is None else _on_rabbitmq(peer, python, broker, log))
    except NotThere as error:
        return Compared(title, durable, missing=str(error))
    except (RuntimeError, OSError, TimeoutError, aiohttp.ClientError) as error:
        said = log.read_text(errors="replace")[-500:] if log.exists() else ""
        return Compared(title, durable, missing=f"it did not work: {error!r} {said}".replace("\n", " "))
    return Compared(title, durable, cost)


async def _on_rabbitmq(peer: Peer, python: Path, broker: Broker, log: Path) -> Cost:
    with tempfile.TemporaryDirectory() as place:
        env = {"BENCH_BROKER": broker.new_vhost(), "BENCH_BELL": f"{place}/bell", **peer.env}
        async with (
            loader(python, peer.module, log=log, env=env) as load,
            child([str(python), *peer.worker], log=log, env=env, heard=False) as worker,
        ):
            roots = [Root("worker", worker.pid), Root("broker", broker.pid)]
            return await _timed(peer.name, load, roots)


async def _timed(name: str, load: Loader, roots: Sequence[Root]) -> Cost:
    async with asyncio.timeout(START_SECS):
        await load.alone(1)
    return await timed(name, load, roots)


# --- Compox ---------------------------------------------------------------------------------------------------

RUNNER = """from compox.algorithm_utils.BaseRunner import BaseRunner


class Runner(BaseRunner):
    def load_assets(self):
        pass

    def preprocess(self, input_data, args=None):
        return input_data["input_dataset_ids"]

    def inference(self, data, args=None):
        return data

    def postprocess(self, data, args=None):
        return data
"""
PROJECT = """[project]
name = "noop"
version = "1.0.0"
[tool.compox]
algorithm_type = "Generic"
description = "Returns its input ids."
supported_devices = ["cpu"]
default_device = "cpu"
additional_parameters = []
"""


async def _compox(name: str, python: Path, folder: Path, log: Path) -> Cost:
    async with _compox_server(python, folder, log) as (pid, url):
        algorithm = await _deployed(url, folder)
        async with loader(sys.executable, "benchmarks.peers.compox_noop", algorithm, url, log=log) as load:
            return await _timed(name, load, [Root("worker", pid)])


@contextlib.asynccontextmanager
async def _compox_server(python: Path, folder: Path, log: Path) -> AsyncIterator[tuple[int, str]]:
    """Its pid and its address."""
    (port,) = free_ports(1)
    settings = {
        "port": port,
        "log_path": str(folder / "compox.log"),
        "logging": {"console_level": "WARNING", "file_level": "WARNING"},
        "inference": {"device": "cpu", "backend_settings": {"executor": "fastapi_background_tasks"}},
        "storage": {"backend_settings": {"provider": "aws"}},  # It starts no MinIO then.
    }
    (folder / "compox.yaml").write_text(json.dumps(settings))
    command = [str(python), "-m", "benchmarks.peers.compox_server", str(folder / "compox.yaml")]
    env = {"TMPDIR": str(folder)}
    async with child(command, log=log, env=env, heard=False) as process:
        yield process.pid, f"http://127.0.0.1:{port}"


async def _deployed(url: str, folder: Path) -> str:
    """The algorithm's id, once the server answers."""
    place = folder / "noop"
    place.mkdir()
    (place / "Runner.py").write_text(RUNNER)
    (place / "pyproject.toml").write_text(PROJECT)
    async with aiohttp.ClientSession() as http, asyncio.timeout(START_SECS):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with http.post(f"{url}/api/v0/deploy/local", params={"path": str(place)}) as answer:
                    if answer.status != 200:
                        raise RuntimeError(await answer.text())
                    return str((await answer.json())["algorithm_id"])
            await asyncio.sleep(0.1)
