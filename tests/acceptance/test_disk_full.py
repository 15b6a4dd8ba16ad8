"""The disk of a server is full: nothing new is taken, nothing is lost, and room can be made."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.acceptance.nursery import Nursery
from tests.acceptance.support import HELD, READY, eventually, generic, hdf5, zipped
from tests.smalldisk import SmallDisk, small_disk

LOW_WATER = 8 << 20
VOLUME = np.zeros((16, 256, 256), np.uint8)


class Server:
    """`voxloom up` on a disk of 64 MiB."""

    def __init__(self, disk: SmallDisk, folder: Path, nursery: Nursery) -> None:
        self.disk = disk
        self.log = folder / "server.log"
        self.http = httpx.Client(timeout=90.0)
        self._folder = folder
        self._nursery = nursery
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        settings = {"LOW_WATER_BYTES": LOW_WATER, "RESERVE_BYTES": 4 << 20, "SLOTS": 1, "CHECK_TIMEOUT": 120}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("VOXLOOM_")}
        environment |= {f"VOXLOOM_{name}": str(value) for name, value in settings.items()}
        before = len(self._said())
        arguments = ["up", "--port", "0", "--data", str(self.disk.place / "data")]
        process = self.process = self.disk.begin(arguments, environment, self.log)
        eventually(lambda: READY.search(self._said(), before) or process.poll() is not None, what="a start")
        found = READY.search(self._said(), before)
        assert found, self._said()
        self.http.base_url = httpx.URL(found[1])
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(120)
            self.process = None

    def _said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.http.post(path, **more)

    def upload(self) -> httpx.Response:
        return self.post("/api/v0/files", content=hdf5(image=VOLUME))

    def deploy(self, name: str, body: str) -> httpx.Response:
        files = generic(name, body, toml="removable = true")
        return self.post("/api/v1/algorithms", content=zipped(files))

    def execute(self, algorithm: str, **parameters: Any) -> httpx.Response:
        body = {"algorithm_id": algorithm, "input_dataset_ids": [], "additional_parameters": parameters}
        return self.post("/api/v0/execute-algorithm", json=body)

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/v1/executions/{run}", params={"wait": 20}).json())

    def ready(self) -> httpx.Response:
        return self.http.get("/readyz")

    def is_ready(self) -> bool:
        return self.ready().status_code == 200

    def figure(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        assert found, name
        return float(found[1])

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "VOXLOOM_URL": str(self.http.base_url), "NO_COLOR": "1"}
        return self._nursery.run(*words, environment=environment, cwd=self._folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("full")
    with small_disk(folder / "disk", mib=64) as disk:
        server = Server(disk, folder, nursery)
        try:
            yield server.start()
        finally:
            server.stop()
            server.http.close()


def test_a_full_disk_refuses_what_is_new_lets_go_what_is_old_and_goes_on_when_there_is_room(
    server: Server, tmp_path: Path
) -> None:
    # Given files, an algorithm, one run that has ended and one that is under way
    files = [server.upload().json()["file_id"] for _ in range(4)]
    noop = server.deploy("noop", "pass").json()["algorithm_id"]
    held = server.deploy("held", HELD).json()["algorithm_id"]
    ended = server.execute(noop).json()["execution_id"]
    assert server.run(ended)["status"] == "COMPLETED"
    until = tmp_path / "until"
    running = server.execute(held, until=str(until)).json()["execution_id"]
    waiting = server.execute(noop).json()["execution_id"]
    eventually(lambda: server.http.get(f"/api/v0/executions/{running}").json()["status"] == "RUNNING", what="a run")

    # When somebody else fills the disk to its last byte
    ballast = server.disk.fill()
    eventually(lambda: not server.is_ready(), what="being not ready")

    # Then it is said everywhere, and what is new is refused by a problem that says what to do
    assert re.search(r"disk full: \d+ bytes free", server.ready().json()["detail"])
    assert server.figure("voxloom_disk_short") == 1
    assert "disk full" in server.cli("doctor").stdout
    refusals = [server.upload(), server.deploy("more", "pass"), server.execute(noop)]
    refusals.append(server.http.get("/api/v1/files/new.h5/upload-url"))
    assert [(one.status_code, one.json()["code"]) for one in refusals] == [(507, "storage_full")] * 4
    assert "voxloom rm" in refusals[0].json()["detail"]
    assert "refused POST '/api/v0/files'" in server.log.read_text()

    # And after a restart on the full disk, too, files, records and algorithms can be removed, by REST and CLI
    assert server.http.delete(f"/api/v1/files/{files[0]}").status_code == 200
    server.disk.fill()
    assert server.cli("rm", "--yes", "executions", ended).returncode == 0
    until.touch()
    server.stop()
    server.start()
    assert server.cli("rm", "--yes", "files", *files[1:3]).stdout == "Removed 2 of 2 files.\n"
    assert server.cli("rm", "--yes", "held", "1").returncode == 0
    assert server.http.get(f"/api/v1/files/{files[1]}").status_code == 404
    assert server.http.get(f"/api/v1/executions/{ended}").status_code == 404

    # And all goes on by itself when there is room again: no run is lost, and the reserve is there once more
    ballast.unlink()
    eventually(server.is_ready, what="being ready")
    assert server.run(waiting)["status"] == "COMPLETED"
    assert server.run(running)["status"] in ("COMPLETED", "FAILED")
    assert server.upload().status_code == 200
    eventually(lambda: server.figure("voxloom_disk_reserve_bytes") == 4 << 20, what="a new reserve")
