"""Every answer of /api/v0 is one that Compox's own models of it can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.gateway.app import ROUTES
from services.gateway.http.routing import Many, Route
from tests import compoxmodels
from tests.acceptance.support import Api, Footing, eventually

UNKNOWN = "00000000-0000-1000-8000-000000000000"
THEIRS = {
    "AlgorithmRecord": "AlgorithmRegisteredResponse",
    "BenchmarkRecord": "BenchmarkRecord",
    "BenchmarkResponse": "BenchmarkResponse",
    "CheckpointRecord": "AlgorithmCheckpointRecord",
    "DeployBegun": "DeployResponse",
    "DeployRecord": "DeployRecord",
    "DeployResponse": "AlgorithmDeployResponse",
    "ExecutionRecord": "ExecutionRecord",
    "ExecutionResponse": "ExecutionResponse",
    "FileUploadResponse": "FileUploadResponse",
    "Problem": "ErrorResponse",
    "ResponseMessage": "ResponseMessage",
    "RootMessage": "RootMessage",
    "SampleRecord": "SampleRecord",
    "SampleResponse": "SampleResponse",
    "TrainingRecord": "TrainingRecord",
    "TrainingResponse": "TrainingResponse",
    "UrlResponse": "UrlResponse",
}
"""By the names of voxloom.models, those of Compox's models."""
RUNNER = """
import os, time
from compox.algorithm_utils.BaseRunner import BaseRunner

class Runner(BaseRunner):
    def preprocess(self, input_data, args=None):
        return super().preprocess(input_data, args=args)

    def inference(self, data, args=None):
        self.log_message("seen while it runs")
        self.task_handler.update_log()
        self.held(args)
        return data

    def postprocess(self, data, args=None):
        if args.get("fail"):
            raise ValueError("as it was told")
        return ["one"]

    def train(self, training_data, args=None):
        self.set_state({"loss": 0.5})
        self.save_checkpoint({"weights.txt": b"learnt"}, {"loss": 0.5})
        self.log_message("seen while it trains")
        self.task_handler.update_log()
        self.held(args)

    def benchmark(self, args=None):
        return {"seconds": 0.25}

    def held(self, args):
        for _ in range(20_000):
            if not args.get("until") or os.path.exists(args["until"]):
                break
            time.sleep(0.01)
            self.set_progress(0.5)
"""
_KINDS = [
    'type = "string"',
    'type = "int", default = 3',
    'type = "float", default = 3',
    'type = "bool", default = true',
    'type = "int_range", min = 0, max = 9, step = 1, default = 2, decimal_precision = 0',
    'type = "float_range", min = 0, max = 9, step = 1, default = 2',
    'type = "string_enum", options = ["a", "b"]',
    'type = "int_enum", options = [1, 2], default = 2',
    'type = "float_enum", options = [1, 2.5], default = 1',
    'type = "string_list", options = ["a", "b"], default = ["a"]',
    'type = "int_list", options = [[1, 2], [3]], default = [1]',
    'type = "float_list"',
    'type = "bool_list", default = [true], adjustable = true',
]
_SECTIONS = "".join(
    f'\n[[tool.compox.{section}]]\nname = "a-{number}_parameter"\nconfig = {{ {kind} }}\n'
    for section in ("additional_parameters", "training_parameters", "benchmark_outputs")
    for number, kind in enumerate(_KINDS)
)
PYPROJECT = f"""
[project]
name = "written-for-compox"
version = "1.0.0"

[tool.compox]
removable = true
{_SECTIONS}
"""


class Listener:
    """Keeps every answer of the routes that Compox has, too. Records in /api/v1 are ours: they say null of what has not
    begun."""

    def __init__(self, api: Api) -> None:
        self.answers: list[dict[str, Any]] = []
        self.routes: set[tuple[str, str]] = set()
        api.http.event_hooks["response"] = [self.hear]

    def hear(self, answer: httpx.Response) -> None:
        route = next((one for one in ROUTES if is_at(one, answer.request)), None)
        if answer.is_success and answer.request.url.path.startswith("/api/v1/") and not gives_url(answer):
            return
        if "json" not in answer.headers.get("content-type", ""):
            return
        answer.read()
        expected = route.answers[200] if route is not None and answer.is_success else None
        model = expected.item if isinstance(expected, Many) else expected
        if route is not None and answer.is_success:
            self.routes.add((route.method, route.path))
        if answer.is_error or (isinstance(model, type) and model.__name__ in THEIRS):
            where = f"{answer.request.method} {answer.request.url.path} {answer.status_code}"
            name = THEIRS[model.__name__] if isinstance(model, type) else "ErrorResponse"
            many = isinstance(expected, Many)
            self.answers.append({"where": where, "model": name, "many": many, "body": answer.json()})


def is_at(route: Route, request: httpx.Request) -> bool:
    parts = re.split(r"{\w+[^}]*}", route.path)
    return route.method == request.method and bool(re.fullmatch("[^/]+".join(map(re.escape, parts)), request.url.path))


def gives_url(answer: httpx.Response) -> bool:
    """The routes of /api/v1 that Compox has do so."""
    return answer.request.url.path.endswith("load-url")


def compoxs(route: Route) -> bool:
    """Whether a v0 route answers with JSON, so that a model of theirs must fit."""
    answer = route.answers[200]
    return route.path.startswith("/api/v0") and (isinstance(answer, Many | type))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "roots" / "written"
    folder.mkdir(parents=True)
    (folder / "Runner.py").write_text(RUNNER)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "weights.txt").write_text("0")
    return folder


@pytest.fixture
def api(new_embedded: Callable[..., Footing], folder: Path) -> Iterator[Api]:
    system = new_embedded(deploy_roots=json.dumps([str(folder.parent)]))
    api = system.new_api()
    yield api
    api.close()


def posted(api: Api, path: str, **body: Any) -> Any:
    answer = api.http.post(f"/api/v0/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_answer_of_v0_can_be_read_by_compoxs_models(api: Api, folder: Path) -> None:
    # Given a client that uses every route, and is refused by each in some way
    listener = Listener(api)
    api.http.get("/")
    api.http.get("/api/v0/algorithm/all")
    algorithm_id = deploys(api, folder)
    file_id = files(api)
    runs(api, algorithm_id, file_id, folder.parent)
    trainings(api, algorithm_id, file_id, folder.parent)
    removals(api, algorithm_id, file_id)
    refusals(api)
    # Then there is an answer of every route, and Compox's models read them all
    assert {(one.method, one.path) for one in ROUTES if compoxs(one)} - listener.routes == set()
    assert compoxmodels.faults_of(listener.answers) == []


def deploys(api: Api, folder: Path) -> str:
    query = {"path": str(folder)}
    begun = api.http.post("/api/v0/deploy/local-async", params=query).json()["deploy_id"]
    record = f"/api/v0/deploy/{begun}"
    eventually(lambda: api.http.get(record).json()["status"] in ("COMPLETED", "FAILED"), what="the deploy")
    deployed = api.http.post("/api/v0/deploy/local", params=query).json()
    (algorithm,) = api.http.get("/api/v0/algorithm/all").json()
    assert api.http.get("/api/v0/algorithm/written-for-compox/1").json() == algorithm
    assert len(algorithm["benchmark_outputs"]) == len(_KINDS)
    assert algorithm["additional_parameters"][0]["config"]["adjustable"] is False
    (folder / "pyproject.toml").write_text("[project]\n")
    assert api.http.post("/api/v0/deploy/local", params=query).status_code == 400
    return str(deployed["algorithm_id"])


def files(api: Api) -> str:
    file_id = api.upload(image=np.zeros((4, 4), np.float32))
    api.http.get(f"/api/v0/files/{file_id}")
    api.http.get("/api/v1/files/a-name/upload-url")
    return file_id


def runs(api: Api, algorithm_id: str, file_id: str, folder: Path) -> None:
    # As Compox's request model dumps it, with all that was not given as null.
    asked = {"algorithm_id": algorithm_id, "input_dataset_ids": [file_id], "checkpoint_id": None}
    asked |= {"algorithm_minor_version": None, "execution_device_override": None, "session_token": None}
    until = folder / "run-may-end"
    held = posted(api, "execute-algorithm", **asked, additional_parameters={"until": str(until)})["execution_id"]
    path = f"/api/v0/executions/{held}"
    eventually(lambda: "seen while it runs" in api.http.get(path).json()["log"], what="the log of a run")
    eventually(lambda: api.http.get(path).json()["status"] == "RUNNING", what="news of its beginning")
    until.touch()
    api.wait(held)
    failed = posted(api, "execute-algorithm", **asked, additional_parameters={"fail": True})["execution_id"]
    api.wait(failed)
    endless = posted(api, "execute-algorithm", **asked, additional_parameters={"until": str(folder / "never")})
    api.wait_for_status(endless["execution_id"], "RUNNING")
    assert api.stop(endless["execution_id"]).status_code == 200
    api.wait(endless["execution_id"])
    assert api.stop(endless["execution_id"]).status_code == 400
    assert [api.record(one)["status"] for one in (held, failed, endless["execution_id"])] == [
        "COMPLETED",
        "FAILED",
        "STOPPED",
    ]
    benchmark = posted(api, "benchmark-algorithm", algorithm_id=algorithm_id)["benchmark_id"]
    api.wait(benchmark, among="benchmarks")
    assert api.http.get(f"/api/v0/benchmarks/{benchmark}").json()["data"] == {"seconds": 0.25}
    assert len(api.http.get("/api/v0/execute-algorithm/all").json()) == 3


def trainings(api: Api, algorithm_id: str, file_id: str, folder: Path) -> None:
    sample = posted(api, "sample", files=[{"image": [file_id]}], tags=["Cells"])["sample_id"]
    api.http.get("/api/v0/sample/all")
    api.http.get(f"/api/v0/sample/{sample}")
    until = folder / "training-may-end"
    asked = {"algorithm_id": algorithm_id, "training_data": [sample], "checkpoint_id": None, "tags": ["a"]}
    training = posted(api, "train-algorithm", **asked, additional_parameters={"until": str(until)})["training_id"]
    path = f"/api/v0/training/{training}"
    eventually(lambda: "seen while it trains" in api.http.get(path).json()["log"], what="the log of a training")
    until.touch()
    api.wait(training, among="trainings")
    record = api.http.get(path).json()
    assert record["status"] == "COMPLETED", record
    (checkpoint,) = record["output_checkpoint_ids"]
    api.http.get("/api/v0/checkpoint/all")
    api.http.get(f"/api/v0/checkpoint/{checkpoint}")
    stopped = posted(api, "train-algorithm", **asked, additional_parameters={"until": str(folder / "never")})
    assert api.http.post(f"/api/v0/training/{stopped['training_id']}/stop").status_code == 200
    api.wait(stopped["training_id"], among="trainings")
    api.http.get(f"/api/v0/training/{stopped['training_id']}")
    assert api.http.delete(f"/api/v0/files/{file_id}").status_code == 409
    api.http.delete(f"/api/v0/checkpoint/{checkpoint}")
    api.http.delete(f"/api/v0/sample/{sample}")


def removals(api: Api, algorithm_id: str, file_id: str) -> None:
    run = api.http.get("/api/v0/execute-algorithm/all").json()[0]["execution_id"]
    api.http.delete(f"/api/v0/execute-algorithm/{run}")
    api.http.delete("/api/v0/execute-algorithm/all")
    api.http.delete(f"/api/v0/files/{file_id}")
    api.http.delete(f"/api/v0/deploy/algorithm/{algorithm_id}")


def refusals(api: Api) -> None:
    """Something that is not there, of every route with an id; and what no route takes."""
    for route in ROUTES:
        if "{" in route.path and route.path.startswith("/api/v0"):
            path = re.sub(r"{\w+[^}]*}", UNKNOWN, route.path)
            assert api.http.request(route.method, path).status_code in (200, 404, 422), path
    unknown = {"algorithm_id": UNKNOWN, "input_dataset_ids": [UNKNOWN], "training_data": [UNKNOWN]}
    statuses = [
        api.http.post("/api/v0/execute-algorithm", json=unknown).status_code,
        api.http.post("/api/v0/execute-algorithm", content=b"{").status_code,
        api.http.post(
            "/api/v0/train-algorithm", json={"algorithm_id": UNKNOWN, "training_data": [UNKNOWN]}
        ).status_code,
        api.http.post("/api/v0/sample", json={"files": [{"image": [UNKNOWN]}]}).status_code,
        api.http.post("/api/v0/files", content=b"no HDF5").status_code,
        api.http.post("/api/v0/deploy/local", params={"path": "/etc"}).status_code,
        api.http.get("/api/v0/nothing").status_code,
        api.http.put("/api/v0/algorithm/all").status_code,
    ]
    assert statuses == [404, 422, 404, 404, 422, 403, 404, 405]
