"""The system under test, as users have it: a process of its own that is spoken to over HTTP and with signals.

The tests say nothing about what the system stands on; another footing is another `Footing` here.
"""

from __future__ import annotations

import io
import os
import re
import signal
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import httpx
import pytest
from numpy.typing import NDArray

from tests import closed
from tests.acceptance.nursery import Child, Nursery
from tests.polling import pauses

READY = re.compile(r"ready at (http://\S+)")
TERMINAL = ("COMPLETED", "FAILED", "STOPPED")
START_SECS = 180.0


def eventually(check: Callable[[], Any], *, within: float = 180.0, what: str = "it") -> Any:
    """Asks until the answer is true; the answer."""
    deadline = time.monotonic() + within
    looks = pauses()
    while not (answer := check()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {within} s")
        time.sleep(next(looks))
    return answer


def await_words(words: re.Pattern[str], process: Child, output: Path, log: Path) -> str:
    """All that the process has said, as soon as these words are among it."""
    deadline = time.monotonic() + START_SECS
    while True:
        code = process.poll()
        said = output.read_text().rpartition("\n")[0] if output.exists() else ""
        if words.search(said):
            return said
        if code is not None or time.monotonic() > deadline:
            told = log.read_text()[-4000:] if log.exists() else ""
            pytest.fail(f"it did not start (code {code}):\n{said}\n{told}")
        time.sleep(0.01)


class Footing:
    """The embedded system: `voxloom up` on a data folder that outlives the process."""

    def __init__(self, folder: Path, nursery: Nursery, **settings: Any) -> None:
        self.folder = folder
        self.settings = settings
        self._nursery = nursery
        self.log = folder / "server.log"
        self.url = ""
        self.process: Child | None = None
        self._apis: list[Api] = []
        self.deployed: dict[tuple[tuple[str, str], ...], str] = {}
        """Ids of algorithms by their files."""
        self._is_closed = False

    @property
    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("VOXLOOM_")}
        told = {f"VOXLOOM_{key.upper()}": str(value) for key, value in self.settings.items()}
        return {**clean, **told}

    def close_to_others(self) -> None:
        """Before its first start: it asks who people are, and knows those who run the tests."""
        if (text := closed.token()) is None or self._is_closed or "auth" in self.settings:
            return
        self._is_closed = True
        self.settings = {**self.settings, "auth": "closed"}
        places = {**self.environment, "VOXLOOM_DATA": str(self.data)}
        ended = self._nursery.run(text, environment=places, cwd=self.folder, module="tests.closed")
        assert ended.returncode == 0, ended.stderr

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def api(self) -> Api:
        """One that is closed when this life of the system ends."""
        self._apis.append(self.new_api())
        return self._apis[-1]

    def new_api(self) -> Api:
        """One that is the caller's to close."""
        return Api(self)

    def start(self) -> Footing:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.close_to_others()
        output = self.folder / "server.out"
        output.unlink(missing_ok=True)
        self.process = self.begin(output, self.log)
        self.url = READY.findall(await_words(READY, self.process, output, self.log))[0]
        return self

    def begin(self, output: Path, log: Path) -> Child:
        """A server on the data folder, which perhaps is not ready yet."""
        arguments = ["up", "--port", "0", "--data", str(self.data)]
        return self._nursery.begin(arguments, environment=self.environment, output=output, log=log, cwd=self.folder)

    def stop(self, within: float = 180.0) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM, within)

    def kill(self) -> None:
        """What a power cut is to a process."""
        self._end(signal.SIGKILL, 30.0)

    def _end(self, number: signal.Signals, within: float) -> int:
        assert self.process is not None
        self._close_apis()
        self.process.signal(number)
        code = self.process.wait(within)
        self.process = None
        return code

    def _close_apis(self) -> None:
        while self._apis:
            self._apis.pop().close()

    @property
    def running(self) -> bool:
        return self.process is not None

    def close(self) -> None:
        if self.running:
            self.kill()


class Api:
    """REST as an application would use it, with what tests need again and again."""

    def __init__(self, footing: Footing, transport: httpx.BaseTransport | None = None) -> None:
        self.footing = footing
        shown = {"Authorization": f"Bearer {text}"} if (text := closed.token()) else {}
        self.http = httpx.Client(base_url=footing.url, timeout=60.0, transport=transport, headers=shown)

    def close(self) -> None:
        self.http.close()

    def upload(self, **datasets: NDArray[Any]) -> str:
        answer = self.http.post("/api/v0/files", content=hdf5(**datasets))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["file_id"])

    def download(self, file_id: str) -> dict[str, NDArray[Any]]:
        answer = self.http.get(f"/api/v0/files/{file_id}")
        assert answer.status_code == 200, answer.text
        with h5py.File(io.BytesIO(answer.content)) as file:
            return {name: file[name][()] for name in file}

    def deploy(self, files: Mapping[str, str]) -> dict[str, Any]:
        answer = self.try_deploy(files)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def deployed(self, files: Mapping[str, str]) -> str:
        """The id of an algorithm that this system may have deployed before: what it costs to check one, and to start a
        process for it, is paid once."""
        content = tuple(sorted(files.items()))
        if content not in self.footing.deployed:
            self.footing.deployed[content] = str(self.deploy(files)["algorithm_id"])
        return self.footing.deployed[content]

    def try_deploy(self, files: Mapping[str, str], **query: Any) -> httpx.Response:
        return self.http.post("/api/v1/algorithms", content=zipped(files), params=query)

    def execute(self, algorithm_id: str, inputs: list[str] | None = None, **more: Any) -> str:
        body = {"algorithm_id": algorithm_id, "input_dataset_ids": inputs or [], **more}
        answer = self.http.post("/api/v0/execute-algorithm", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["execution_id"])

    def record(self, run: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v0/executions/{run}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, run: str, within: float = 240.0, *, among: str = "executions") -> dict[str, Any]:
        """The record once the run has ended; `among` trainings or benchmarks, if it is one."""
        deadline = time.monotonic() + within
        while True:
            record = dict(self.http.get(f"/api/v1/{among}/{run}", params={"wait": 10}).json())
            if record["status"] in TERMINAL:
                return record
            if time.monotonic() > deadline:
                pytest.fail(f"run {run} is still {record['status']} after {within} s")

    def run(self, algorithm_id: str, inputs: list[str] | None = None, **more: Any) -> dict[str, Any]:
        return self.wait(self.execute(algorithm_id, inputs, **more))

    def stop(self, run: str) -> httpx.Response:
        return self.http.post(f"/api/v0/executions/{run}/stop")

    def wait_for_status(self, run: str, *statuses: str) -> None:
        eventually(lambda: self.record(run)["status"] in statuses, what=f"{run} being {statuses}")


def hdf5(**datasets: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return buffer.getvalue()


def zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def algorithm(name: str, body: str, *, toml: str = "", version: str = "1.0.0", **files: str) -> dict[str, str]:
    """The files of an algorithm whose Runner has this body (methods, not indented)."""
    indented = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    runner = f"import os, sys, time\nfrom voxloom.runner import BaseRunner\n\n\nclass Runner(BaseRunner):\n{indented}\n"
    project = (
        f'[project]\nname = "{name}"\nversion = "{version}"\n\n[tool.voxloom]\nalgorithm_type = "Generic"\n{toml}\n'
    )
    return {"pyproject.toml": project, "Runner.py": runner, **files}


def generic(name: str, inference: str, **more: Any) -> dict[str, str]:
    """An algorithm that does something in `inference` and gives its input ids back."""
    indented = "\n".join(f"    {line}" for line in inference.strip("\n").splitlines())
    body = f"""
def preprocess(self, input_data, args):
    return input_data["input_dataset_ids"]

def inference(self, data, args):
{indented}
    return data

def postprocess(self, data, args):
    return data
"""
    return algorithm(name, body, **more)


PLUS_ONE = """
def preprocess(self, input_data, args):
    from voxloom.runner.io_schemas import VolumeSchema
    return self.fetch_data(input_data["input_dataset_ids"], VolumeSchema, "volume")

def inference(self, data, args):
    return [{"volume": item["volume"] + args.get("add", 1)} for item in data]

def postprocess(self, data, args):
    from voxloom.runner.io_schemas import VolumeSchema
    return self.post_data(data, VolumeSchema)
"""

TICKER = """
for step in range(int(args.get("steps", 1000))):
    time.sleep(0.02)
    self.set_progress(step / int(args.get("steps", 1000)))
"""

HELD = """
for step in range(10_000):
    if os.path.exists(args["until"]):
        break
    time.sleep(0.02)
    self.set_progress(step / 10_000)
"""
"""Goes on until there is a file at `args["until"]`."""
