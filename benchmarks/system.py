"""A whole system to measure: its own process, real HTTP, real runner processes, a data folder of its own."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from benchmarks.cpu import Root

READY = re.compile(rb"ready at (http://\S+)")

NOOP = """
    def preprocess(self, input_data, args):
        return input_data["input_dataset_ids"]

    def inference(self, data, args):
        return data

    def postprocess(self, data, args):
        return data
"""
TICKER = """
    def preprocess(self, input_data, args):
        return input_data["input_dataset_ids"]

    def inference(self, data, args):
        import time
        for step in range(int(args.get("steps", 2000))):
            time.sleep(0.05)
            self.set_progress(step / int(args.get("steps", 2000)))
        return data

    def postprocess(self, data, args):
        return data
"""
STUCK = """
    def preprocess(self, input_data, args):
        return []

    def inference(self, data, args):
        import ctypes
        while True:
            ctypes.CDLL(None).usleep(100_000)

    def postprocess(self, data, args):
        return []
"""
VOLUME_PLUS_ONE = """
    def preprocess(self, input_data, args):
        return self.fetch_data(input_data["input_dataset_ids"], VolumeSchema, "volume")

    def inference(self, data, args):
        return [{"volume": item["volume"] + 1} for item in data]

    def postprocess(self, data, args):
        return self.post_data(data, VolumeSchema)
"""
STACK_PLUS_ONE = """
    def inference(self, data, args):
        return data + 1
"""


class System:
    """`async with System() as system`: started, spoken to, stopped."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="voxloom-bench-")
        self.data = Path(self._folder.name) / "data"
        self.url = ""
        self.started_in = 0.0
        self.http: aiohttp.ClientSession
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:  # What has begun must not go on for nobody.
            await self.end(signal.SIGKILL)
            self._folder.cleanup()
            raise
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()
        await self.end(signal.SIGTERM)
        self._folder.cleanup()

    async def start(self) -> None:
        settings = {f"VOXLOOM_{name.upper()}": str(value) for name, value in self._settings.items()}
        command = ["-m", "voxloom", "up", "--port", "0", "--data", str(self.data)]
        begun = time.perf_counter()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **settings},
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        self.started_in = time.perf_counter() - begun
        found = READY.search(line)
        assert found is not None, f"the system did not start: {line!r}"
        self.url = found[1].decode()

    async def end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        async with asyncio.timeout(60):
            await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def roots(self) -> list[Root]:
        """Whose CPU time there is to watch."""
        return [Root("server", self.pid, "runners")]

    def memory(self) -> int:
        """Resident bytes of the server process alone."""
        return _status(self.pid, "VmRSS")

    def forget_peak(self) -> None:
        """From now on `peak_memory` counts anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_memory(self) -> int:
        return _status(self.pid, "VmHWM")

    async def deploy(
        self, name: str, body: str, *, base: str = "BaseRunner", files: Mapping[str, Path] | None = None
    ) -> str:
        """The algorithm's id."""
        source = f"from voxloom.runner import {base}\nfrom voxloom.runner.io_schemas import VolumeSchema\n\n"
        kind = base.removesuffix("Runner") if base != "BaseRunner" else "Generic"
        project = f'[project]\nname = "{name}"\nversion = "1.0.0"\n[tool.voxloom]\nalgorithm_type = "{kind}"\n'
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("Runner.py", f"{source}class Runner({base}):\n{body}")
            archive.writestr("pyproject.toml", project)
            for asset, path in (files or {}).items():
                archive.write(path, asset)
        async with self.http.post(f"{self.url}/api/v1/algorithms", data=buffer.getvalue()) as answer:
            record = await answer.json()
            assert answer.status == 200, record
        return str(record["algorithm_id"])

    async def submit(self, algorithm: str, inputs: list[str] | None = None, **parameters: Any) -> str:
        body = {"algorithm_id": algorithm, "input_dataset_ids": inputs or [], "additional_parameters": parameters}
        async with self.http.post(f"{self.url}/api/v0/execute-algorithm", json=body) as answer:
            record = await answer.json()
            assert answer.status == 200, record
        return str(record["execution_id"])

    async def wait(self, run: str) -> dict[str, Any]:
        while True:
            async with self.http.get(f"{self.url}/api/v1/executions/{run}?wait=30") as answer:
                record: dict[str, Any] = await answer.json()
            if record["status"] in ("COMPLETED", "FAILED", "STOPPED"):
                return record

    async def run(self, algorithm: str, inputs: list[str] | None = None, **parameters: Any) -> dict[str, Any]:
        record = await self.wait(await self.submit(algorithm, inputs, **parameters))
        assert record["status"] == "COMPLETED", record
        return record

    async def stop(self, run: str) -> None:
        async with self.http.post(f"{self.url}/api/v0/executions/{run}/stop") as answer:
            assert answer.status == 200, await answer.text()

    async def upload(self, data: Any, headers: Mapping[str, str] | None = None) -> str:
        async with self.http.post(f"{self.url}/api/v0/files", data=data, headers=headers) as answer:
            record = await answer.json()
            assert answer.status == 200, record
        return str(record["file_id"])

    async def until(self, run: str, status: str) -> None:
        while True:
            async with self.http.get(f"{self.url}/api/v0/executions/{run}") as answer:
                if (await answer.json())["status"] == status:
                    return
            await asyncio.sleep(0.005)


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0
