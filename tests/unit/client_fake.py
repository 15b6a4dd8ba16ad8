"""A small server with the routes that the client uses, on a real socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from aiohttp import web

from shared.listening import Site
from voxloom.ids import new_id
from voxloom.models import (
    AlgorithmRecord,
    DeployRecord,
    DeployStatus,
    ExecutionRecord,
    ExecutionSummary,
    Parameter,
    ParameterConfig,
    Problem,
    RunError,
    Status,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def an_algorithm(
    name: str = "smooth", major: str = "1", kind: str = "Image2Image", schema: str = ""
) -> AlgorithmRecord:
    return AlgorithmRecord(
        algorithm_id=new_id(),
        algorithm_name=name,
        algorithm_version=major,
        algorithm_minor_versions=["0"],
        latest_algorithm_minor_version="0",
        algorithm_minor_version="0",
        algorithm_type=kind,
        input_schema=schema,
        default_device="cpu",
        additional_parameters=[
            Parameter(name="sigma", config=ParameterConfig(type="float", default=1.0)),
            Parameter(name="label", config=ParameterConfig(type="string")),
        ],
    )


def problem(status: int, code: str, detail: str, *, retryable: bool = False, **details: Any) -> web.Response:
    body = Problem(title="x", status=status, detail=detail, code=code, retryable=retryable, details=details or None)
    return web.Response(status=status, body=body.model_dump_json(), content_type="application/problem+json")


@dataclass
class FakeRun:
    record: ExecutionRecord
    log: str = ""
    events: list[bytes] = field(default_factory=list)
    """What the event stream says after the current status."""


@dataclass
class FakeServer:
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    algorithms: list[AlgorithmRecord] = field(default_factory=list)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Of the execute requests."""
    deployed: list[tuple[dict[str, str], list[str]]] = field(default_factory=list)
    removed: list[tuple[str, str, str | None]] = field(default_factory=list)
    refusals: list[web.Response] = field(default_factory=list)
    """Answers given first, before any real one."""
    refuse_logs: list[web.Response] = field(default_factory=list)
    """The same for logs alone."""
    streams: list[list[bytes]] = field(default_factory=list)
    """What each connection to an event stream says before it breaks off; with none left, it tells the end."""
    resumed: list[str | None] = field(default_factory=list)
    """The Last-Event-ID of each connection to an event stream."""
    outcome: Status = Status.COMPLETED
    error: RunError | None = None
    run_log: str = "2026-11-21 02:57:03 INFO begun\n"
    outputs: Callable[[FakeServer, list[str]], list[str]] = lambda server, ids: [server.plus_one(i) for i in ids]
    hold: bool = False
    """Runs stay RUNNING until they are stopped."""
    not_ready: bool = False
    slow_secs: float = 0.0
    """How long every answer takes at least."""
    at_once: int = 0
    most_at_once: int = 0

    # --- what tests look at -----------------------------------------------------------------------------------

    def datasets(self, file_id: str) -> dict[str, Any]:
        with h5py.File(io.BytesIO(self.files[file_id]), "r") as file:
            return {name: file[name][()] for name in file}

    def add_file(self, **datasets: Any) -> str:
        memory = io.BytesIO()
        with h5py.File(memory, "w") as file:
            for name, value in datasets.items():
                file.create_dataset(name, data=value)
        file_id = new_id()
        self.files[file_id] = memory.getvalue()
        return file_id

    def plus_one(self, file_id: str) -> str:
        return self.add_file(**{name: value + 1 for name, value in self.datasets(file_id).items()})

    def add_run(self, status: Status = Status.RUNNING, log: str = "", **fields: Any) -> str:
        run_id = new_id()
        record = ExecutionRecord(
            execution_id=run_id,
            algorithm_id="a",
            algorithm_name="smooth",
            algorithm_major_version="1",
            input_dataset_ids=[],
            additional_parameters={},
            session_token="s",
            status=status,
            time_started="2026-11-21T02:57:03.580050+00:00",
            attempt=1,
            **fields,
        )
        self.runs[run_id] = FakeRun(record, log)
        return run_id

    def end_run(self, run_id: str, status: Status, **fields: Any) -> None:
        run = self.runs[run_id]
        run.record = run.record.model_copy(update={"status": status, **fields})

    # --- routes -------------------------------------------------------------------------------------------------

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._first])
        app.add_routes(
            [
                web.get("/", self._root),
                web.get("/readyz", self._ready),
                web.post("/api/v0/files", self._upload),
                web.get("/api/v0/files/{id}", self._download),
                web.delete("/api/v0/files/{id}", self._delete),
                web.get("/api/v0/algorithm/all", self._all),
                web.get("/api/v0/algorithm/{name}/{major}", self._one),
                web.post("/api/v1/algorithms", self._deploy),
                web.delete("/api/v1/algorithms/{name}/{major}", self._remove),
                web.post("/api/v0/execute-algorithm", self._execute),
                web.post("/api/v0/executions/{id}/stop", self._stop),
                web.get("/api/v1/executions", self._list),
                web.get("/api/v1/executions/{id}", self._record),
                web.get("/api/v1/executions/{id}/log", self._log),
                web.get("/api/v1/executions/{id}/events", self._events),
            ]
        )
        return app

    @property
    def _first(self) -> Any:
        @web.middleware
        async def first(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.requests.append((request.method, request.path))
            self.headers.append(dict(request.headers))
            if self.refusals:
                return self.refusals.pop(0)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(self.slow_secs)
                return await handler(request)
            finally:
                self.at_once -= 1

        return first

    async def _root(self, request: web.Request) -> web.Response:
        root = {"name": "fake", "tags": ["compox"], "group": "", "organization": "", "domain": "", "version": "0.1.0"}
        return web.json_response(root)

    async def _ready(self, request: web.Request) -> web.Response:
        if self.not_ready:
            return problem(503, "not_ready", "The store does not answer; look at its disk.")
        return web.json_response({"detail": "ready"})

    async def _upload(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not body.startswith(b"\x89HDF"):
            return problem(422, "invalid_hdf5_file", "The body is no HDF5 file; send one.")
        file_id = new_id()
        self.files[file_id] = body
        return web.json_response({"file_id": file_id})

    async def _download(self, request: web.Request) -> web.Response:
        file_id = request.match_info["id"]
        if file_id not in self.files:
            return problem(404, "file_not_found", f"There is no file {file_id}.", file_id=file_id)
        return web.Response(body=self.files[file_id])

    async def _delete(self, request: web.Request) -> web.Response:
        del self.files[request.match_info["id"]]
        return web.json_response({"detail": "File deleted successfully"})

    async def _all(self, request: web.Request) -> web.Response:
        if not self.algorithms:
            return problem(404, "no_algorithms_found", "No algorithms are deployed.")
        return web.json_response([one.model_dump(mode="json") for one in self.algorithms])

    async def _one(self, request: web.Request) -> web.Response:
        wanted = (request.match_info["name"], request.match_info["major"])
        for one in self.algorithms:
            if (one.algorithm_name, one.algorithm_version) == wanted:
                return web.json_response(one.model_dump(mode="json"))
        return problem(404, "algorithm_not_found", f"There is no algorithm {wanted[0]!r}, major version {wanted[1]}.")

    async def _deploy(self, request: web.Request) -> web.Response:
        body = await request.read()
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = archive.namelist()
        self.deployed.append((dict(request.query), names))
        if "Runner.py" not in names:
            return problem(422, "algorithm_runner_not_found", "The algorithm has no Runner.py; add one.", deploy_id="d")
        record = DeployRecord(
            deploy_id="d",
            status=DeployStatus.COMPLETED,
            path="",
            algorithm_id=new_id(),
            algorithm_name="smooth",
            algorithm_major_version="1",
            algorithm_minor_version="0",
            warnings=["The description is empty."],
        )
        return web.json_response(record.model_dump(mode="json"))

    async def _remove(self, request: web.Request) -> web.Response:
        name, major = request.match_info["name"], request.match_info["major"]
        self.removed.append((name, major, request.query.get("minor")))
        return web.json_response({"detail": "Algorithm removed"})

    async def _execute(self, request: web.Request) -> web.Response:
        sent = await request.json()
        self.bodies.append(sent)
        missing = [one for one in sent["input_dataset_ids"] if one not in self.files]
        if missing:
            return problem(404, "input_datasets_not_found", "Some inputs are not there.", missing_dataset_ids=missing)
        run_id = self.add_run()
        if not self.hold:
            done = self.outcome is Status.COMPLETED
            outputs = self.outputs(self, sent["input_dataset_ids"]) if done else []
            self.runs[run_id].log = self.run_log
            self.end_run(run_id, self.outcome, output_dataset_ids=outputs, error=self.error, progress=1.0)
        return web.json_response({"execution_id": run_id})

    async def _stop(self, request: web.Request) -> web.Response:
        run = self.runs[request.match_info["id"]]
        if run.record.status.terminal:
            return problem(400, "execution_not_stoppable", f"The run is {run.record.status}; it cannot be stopped.")
        self.end_run(run.record.execution_id, Status.STOPPED)
        return web.json_response({"detail": "Stop request posted successfully"})

    async def _list(self, request: web.Request) -> web.Response:
        start, limit = int(request.query.get("cursor", "0")), int(request.query["limit"])
        wanted = request.query.get("status")
        rows = [run.record for run in self.runs.values() if wanted in (None, str(run.record.status))]
        fields = set(ExecutionSummary.model_fields)
        items = [ExecutionSummary(**one.model_dump(include=fields)) for one in rows[start : start + limit]]
        following = str(start + limit) if start + limit < len(rows) else None
        headers = {"Link": f'</api/v1/executions?cursor={following}>; rel="next"'} if following else None
        return web.json_response([one.model_dump(mode="json") for one in items], headers=headers)

    def _find(self, request: web.Request) -> FakeRun | None:
        return self.runs.get(request.match_info["id"])

    async def _record(self, request: web.Request) -> web.Response:
        run = self._find(request)
        if run is None:
            return problem(404, "execution_record_not_found", "There is no such execution.")
        if "wait" in request.query:
            await self._until_ended(run, float(request.query["wait"]))
        return web.json_response(run.record.model_dump(mode="json"))

    async def _until_ended(self, run: FakeRun, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not run.record.status.terminal and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    async def _log(self, request: web.Request) -> web.Response:
        if self.refuse_logs:
            return self.refuse_logs.pop(0)
        run = self._find(request)
        if run is None:
            return problem(404, "execution_record_not_found", "There is no such execution.")
        return web.Response(text=run.log)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        run = self._find(request)
        if run is None:
            return problem(404, "execution_record_not_found", "There is no such execution.")
        self.resumed.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.streams:
            for piece in self.streams.pop(0):
                await response.write(piece)
            if request.transport is not None:
                request.transport.close()
            return response
        await response.write(b": keep-alive\n\n")
        for piece in run.events:
            await response.write(piece)
        await self._until_ended(run, 10)
        await response.write(status_event(run.record, "end"))
        return response


def status_event(record: ExecutionRecord, event_id: str) -> bytes:
    return f"id: {event_id}\nevent: status\ndata: {record.model_dump_json()}\n\n".encode()


def progress_event(run_id: str, progress: float, attempt: int = 1) -> bytes:
    data = json.dumps({"execution_id": run_id, "attempt": attempt, "progress": progress})
    return f"event: progress\ndata: {data}\n\n".encode()


def log_event(run_id: str, offset: int, text: str, attempt: int = 1) -> bytes:
    data = json.dumps({"execution_id": run_id, "attempt": attempt, "offset": offset, "text": text}, ensure_ascii=False)
    return f"event: log\ndata: {data}\n\n".encode()


def a_volume(slices: int = 5, side: int = 8) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.arange(slices * side * side, dtype=np.uint16).reshape(slices, side, side)


@contextmanager
def running() -> Iterator[FakeServer]:
    server = FakeServer()
    started = threading.Event()
    stopping: list[Callable[[], object]] = []

    async def serve() -> None:
        runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
        await runner.setup()
        site = Site(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stopping.append(lambda: loop.call_soon_threadsafe(stop.set))
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="fake-server", daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        stopping[0]()
        thread.join(10)
