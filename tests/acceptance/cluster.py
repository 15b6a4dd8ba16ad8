"""The system on many machines, all of them this one: a process for each service, a broker and a store of others."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import httpx

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import READY, Api, Footing, await_words, eventually
from tests.brokers import free_ports

IS_READY = re.compile(r"is ready")
ONE_OF_EACH = ("recorder", "scheduler", "ingest", "deployer", "worker", "gateway")
STANDBYS = ("recorder", "scheduler")
"""One more of those of whom one is active."""
ONE_BUCKET = "layout=bucket"
"""For systems of a test's own: each service asks for one bucket when it starts, and not for ten."""

# Who is asked may be killed at any moment: every question takes a connection of its own.
OPERATIONS = httpx.Client(timeout=10.0, limits=httpx.Limits(max_keepalive_connections=0))


class Process:
    """One service in a process of its own, on a node of its own or with others on theirs."""

    def __init__(
        self, service: str, folder: Path, data: Path, environment: Mapping[str, str], nursery: Nursery
    ) -> None:
        self.service = service
        self.log = folder / f"{service}.log"
        self.url = ""
        self.ops = f"http://127.0.0.1:{(port := free_ports(1)[0])}"
        self._output = folder / f"{service}.out"
        self._output.unlink(missing_ok=True)
        arguments = ["serve", service.partition("-")[0], "--port", "0", "--data", str(data)]
        told = {**environment, "VOXLOOM_OPS_PORT": str(port)}
        self._child = nursery.begin(arguments, environment=told, output=self._output, log=self.log, cwd=folder)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_until_ready(self) -> None:
        found = READY.search(await_words(IS_READY, self._child, self._output, self.log))
        self.url = found[1] if found else ""

    def figure(self, name: str) -> float:
        """One of its figures; 0 while there is none, or nobody who would tell."""
        try:
            lines = OPERATIONS.get(f"{self.ops}/metrics").text.splitlines()
        except httpx.ConnectError:
            return 0.0
        return next((float(line.split()[1]) for line in lines if line.startswith(f"voxloom_{name} ")), 0.0)

    @property
    def ready(self) -> bool:
        try:
            return OPERATIONS.get(f"{self.ops}/readyz").status_code == 200
        except httpx.ConnectError:
            return False

    @property
    def code(self) -> int | None:
        """With which it has left, if it has."""
        return self._child.poll()

    def signal(self, number: signal.Signals) -> None:
        self._child.signal(number)

    def wait(self, within: float) -> int:
        return self._child.wait(within)


class Cluster(Footing):
    """Two nodes with two workers each would be a rack; here every service has a process, and each worker a node. A
    service that is named twice in `services` has two."""

    def __init__(
        self,
        folder: Path,
        broker: str,
        store: str,
        keys: Mapping[str, str],
        nursery: Nursery,
        *,
        services: Sequence[str] = ONE_OF_EACH,
        leave: Callable[[str], None] = lambda broker: None,
        **settings: Any,
    ) -> None:
        """`leave` takes away what the system had on its broker, once it is over."""
        super().__init__(folder, nursery, **settings)
        self._leave = leave
        self._services = services
        self.broker = broker
        self.processes: dict[str, Process] = {}
        self._places = {"VOXLOOM_BROKER": broker, "VOXLOOM_STORE": store, **keys}

    @property
    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("VOXLOOM_", "AWS_"))}
        told = {f"VOXLOOM_{key.upper()}": str(value) for key, value in self.settings.items()}
        return {**clean, **told, **self._places}

    def close(self) -> None:
        super().close()
        self._leave(self.broker)

    def new_api(self) -> Api:
        return SpreadApi(self)

    def start(self) -> Cluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.close_to_others()
        for service in self._services:
            self.add(service, wait=False)
        for process in self.processes.values():
            process.wait_until_ready()
        self.url = self.urls[0]
        return self

    def add(self, service: str, *, wait: bool = True) -> Process:
        """One more process of a service; workers get a node of their own each."""
        number = next(n for n in itertools.count(1) if f"{service}-{n}" not in self.processes)
        name = f"{service}-{number}"
        data = self.folder / (name if service == "worker" else "node")
        told = {**self.environment, **self._named(name)}
        process = self.processes[name] = Process(name, self.folder, data, told, self._nursery)
        if wait:
            process.wait_until_ready()
        return process

    def _named(self, name: str) -> dict[str, str]:
        return {"VOXLOOM_WORKER_ID": name} if name.startswith("worker") else {}

    def of(self, service: str) -> list[Process]:
        return [process for name, process in self.processes.items() if name.startswith(f"{service}-")]

    def active(self, service: Literal["scheduler", "recorder"]) -> Process:
        """The one of them that is at work; the others stand by."""
        figure = {"scheduler": "scheduler_epoch", "recorder": "recorder_segment"}[service]
        found: list[Process] = eventually(
            lambda: [one for one in self.of(service) if one.figure(figure)], what=f"an active {service}"
        )
        return max(found, key=lambda process: process.figure(figure))

    def kill_one(self, process: Process) -> None:
        process.signal(signal.SIGKILL)
        process.wait(30.0)
        del self.processes[process.service]

    def tend(self) -> dict[str, int | None]:
        """Starts again whoever has left, as a supervisor does: who steps down for another leaves. With which codes they
        had left."""
        left = {name: process.code for name, process in self.processes.items() if not process.running}
        for name in left:
            del self.processes[name]
            self.add(name.partition("-")[0])
        return left

    def mend(self) -> dict[str, int | None]:
        """Adds whoever is missing, and waits until all can work. APIs that knew who is no more are closed. With which
        codes others have left."""
        self._close_apis()
        left: dict[str, int | None] = {}
        eventually(lambda: self._mended(left), what="all being ready")
        self.url = self.urls[0]
        return left

    def _mended(self, left: dict[str, int | None]) -> bool:
        left.update(self.tend())
        for service, count in Counter(self._services).items():
            for _ in range(count - len(self.of(service))):
                self.add(service)
        return all(process.ready for process in self.processes.values())

    @property
    def urls(self) -> list[str]:
        return [process.url for process in self.processes.values() if process.url]

    def stop(self, within: float = 180.0) -> int:
        """SIGTERM to all; the worst exit code. Logs come together in one."""
        self._close_apis()
        # As an operator would: who asks goes before who is asked.
        for process in reversed(self.processes.values()):
            process.signal(signal.SIGTERM)
        codes = [process.wait(within) for process in self.processes.values()]
        self._forget()
        return max(codes, key=abs)

    def kill(self) -> None:
        self._close_apis()
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait(30.0)
        self._forget()

    def _forget(self) -> None:
        with self.log.open("a") as log:
            for process in self.processes.values():
                log.write(process.log.read_text())
                process.log.unlink()
        self.processes.clear()

    @property
    def running(self) -> bool:
        return bool(self.processes)


class Turns(httpx.BaseTransport):
    """Sends each request to the next gateway in turn."""

    def __init__(self, urls: list[str]) -> None:
        self._transport = httpx.HTTPTransport()
        self._addresses = itertools.cycle([httpx.URL(url) for url in urls])

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        address = next(self._addresses)
        request.url = request.url.copy_with(host=address.host, port=address.port)
        request.headers["Host"] = f"{address.host}:{address.port}"
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


class SpreadApi(Api):
    """Never asks the same gateway twice in a row, where there are several."""

    def __init__(self, footing: Cluster) -> None:
        super().__init__(footing, Turns(footing.urls))


@contextlib.contextmanager
def frozen(process: Process) -> Iterator[None]:
    """For a while it does nothing, and does not know."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)
