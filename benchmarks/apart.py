"""The system apart: a process per service, RabbitMQ, and an S3 server that keeps what it is given on its disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cpu import Root
from benchmarks.system import READY, System
from tests.brokers import MISSING, Broker, free_ports, is_installed
from tests.s3server import KEYS
from tests.seaweed import Seaweed

SERVICES = ("recorder", "scheduler", "ingest", "deployer", "worker")


class CountingSeaweed(Seaweed):
    """One that tells how often it was asked for what."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self._metrics,) = free_ports(1)

    @property
    def _arguments(self) -> list[str]:
        return [*super()._arguments, f"-metricsPort={self._metrics}", "-metricsIp=127.0.0.1"]

    def requests(self) -> Counter[str]:
        """So far, by method."""
        return _summed(f"http://127.0.0.1:{self._metrics}/metrics", "SeaweedFS_s3_request", "type")


class Apart(System):
    """One process per service, and as many gateways as wanted; broker and store are processes, too."""

    def __init__(self, gateways: int = 1, **settings: Any) -> None:
        super().__init__(**settings)
        folder = Path(self._folder.name)
        self.broker = Broker(folder / "broker")
        self.store = CountingSeaweed(folder / "store")
        self.urls: list[str] = []
        """Of the gateways."""
        self._gateways = gateways
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        if not is_installed():
            raise SystemExit(MISSING)
        await asyncio.to_thread(self.broker.start)
        await asyncio.to_thread(self.store.start)
        self._places = {"VOXLOOM_BROKER": self.broker.new_vhost(), "VOXLOOM_STORE": self.store.url(), **KEYS}
        begun = time.perf_counter()
        gateways = [f"gateway {number}" for number in range(1, self._gateways + 1)]
        lines = await asyncio.gather(*(self._begin(name) for name in (*SERVICES, *gateways)))
        self.started_in = time.perf_counter() - begun
        self.urls = [_url(line) for line in lines[len(SERVICES) :]]
        self.url = self.urls[0]

    @property
    def bus_url(self) -> str:
        return self._places["VOXLOOM_BROKER"]

    @property
    def roots(self) -> list[Root]:
        """Whose CPU time there is to watch. All gateways have one name."""
        return [
            Root("broker", self.broker.pid),
            Root("store", self.store.pid),
            *(Root(_service(name), process.pid, _below(name)) for name, process in self._processes.items()),
        ]

    async def _begin(self, name: str) -> bytes:
        settings = {f"VOXLOOM_{key.upper()}": str(value) for key, value in self._settings.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "voxloom", "serve", _service(name), "--port", "0", "--data", str(self.data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **settings, **self._places},
        )
        self._processes[name] = process
        assert process.stdout is not None
        return await process.stdout.readline()

    async def end(self, number: signal.Signals) -> None:
        for process in reversed(self._processes.values()):
            process.send_signal(number)
        async with asyncio.timeout(60):
            await asyncio.gather(*(process.wait() for process in self._processes.values()))
        self._processes.clear()
        await asyncio.to_thread(self.broker.kill)
        await asyncio.to_thread(self.store.kill)

    def store_requests(self) -> Counter[str]:
        """So far, by method."""
        return self.store.requests()

    def enqueues(self) -> Counter[str]:
        """So far, of messages into queues and streams: one that goes into three counts three times."""
        return _summed(self.broker.metrics, "rabbitmq_global_messages_routed", "protocol")


def writes(asked: Mapping[str, int]) -> int:
    return asked.get("PUT", 0) + asked.get("POST", 0) + asked.get("DELETE", 0)


def _service(name: str) -> str:
    return name.partition(" ")[0]


def _below(name: str) -> str:
    return "runners" if name == "worker" else ""


def _url(line: bytes) -> str:
    found = READY.search(line)
    assert found is not None, f"the gateway did not start: {line!r}"
    return found[1].decode()


def _summed(url: str, counter: str, label: str) -> Counter[str]:
    with urlopen(url, timeout=30.0) as answer:
        return summed(answer.read().decode(), counter, label)


def summed(metrics: str, counter: str, label: str) -> Counter[str]:
    """What a counter of Prometheus has come to, by one of its labels."""
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples if family.name == counter else ():
            sums[sample.labels.get(label, "")] += int(sample.value)
    return sums
