"""Executions: ask for one, read its record, stop it, list all."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from aiohttp import web
from pydantic import Field

from messages.executions import ExecutionRequested, ExecutionStopRequested
from services.gateway.catalog import Query, unpack_cursor
from services.gateway.context import Context, context_of
from services.gateway.execute import work_of
from services.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.idempotency import Once, fingerprint_of, key_of
from services.gateway.live import LiveRun
from services.gateway.logs import shown_log
from services.gateway.payloads import json_answer, json_bytes, read_json, read_query
from services.gateway.routing import Route
from voxloom.errors import Conflict, NotFound
from voxloom.ids import is_id, new_id
from voxloom.models import (
    ExecutionPage,
    ExecutionRecord,
    ExecutionRequest,
    ExecutionResponse,
    ResponseMessage,
    Status,
    Value,
)

MOST_ROWS = 1000
LONGEST_WAIT_SECS = 60


class ListQuery(Value):
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 100
    cursor: Annotated[str | None, Field(description="`next_cursor` of the page before.")] = None
    status: Annotated[list[Status], Field(description="One of these.")] = []
    algorithm: Annotated[str | None, Field(description="An algorithm's id, or its name without regard to case.")] = None
    algorithm_major_version: str | None = None
    sort: Annotated[Literal["newest", "oldest"], Field(description="Which submit time comes first.")] = "newest"


class RecordQuery(Value):
    wait: Annotated[
        float, Field(ge=0, le=LONGEST_WAIT_SECS, description="Seconds to wait for the run's end before answering.")
    ] = 0.0


async def execute(request: web.Request) -> web.Response:
    context = context_of(request)
    key = key_of(request)
    wanted = await read_json(request, ExecutionRequest)
    if key is None:
        event = await _asked(context, wanted)
        await context.publish(event)
    else:
        event = await _ExecuteOnce(context, wanted).event(context.keys, key)
        if not await context.view.knows(event.subject):
            await context.publish(event)
    return json_bytes(b'{"execution_id":"%b"}' % event.subject.encode())


async def _asked(context: Context, wanted: ExecutionRequest) -> ExecutionRequested:
    return ExecutionRequested(subject=new_id(), work=await work_of(context, wanted))


class _ExecuteOnce(Once[ExecutionRequested]):
    kind = ExecutionRequested

    def __init__(self, context: Context, wanted: ExecutionRequest) -> None:
        self._context = context
        self._wanted = wanted

    async def make(self) -> ExecutionRequested:
        return await _asked(self._context, self._wanted)

    def fingerprint(self) -> str:
        return fingerprint_of("execute-algorithm", self._wanted.model_dump())


async def get_v0(request: web.Request) -> web.Response:
    run = await find_run(request)
    log = await shown_log(context_of(request), run) if run.state.ended else ""
    return json_bytes(context_of(request).shown.json(run.state, log=log, progress=run.progress))


async def get(request: web.Request) -> web.Response:
    context = context_of(request)
    query = read_query(request, RecordQuery)
    run = await find_run(request)
    if query.wait and not run.state.ended:
        await context.view.wait_until_ended(run, query.wait)
    log = await shown_log(context, run)
    return json_bytes(context.shown.json(run.state, log=log, progress=run.progress))


async def stop(request: web.Request) -> web.Response:
    context = context_of(request)
    run = await find_run(request)
    state = run.state
    if state.ended:
        raise Conflict(
            f"The execution has ended already ({state.status}); there is nothing to stop.",
            code="execution_not_stoppable",
            http_status=400,
            details={"execution_id": state.run, "status": state.status},
        )
    await context.publish(ExecutionStopRequested(subject=state.run, project=state.project))
    return json_answer(ResponseMessage(detail="Stop request posted successfully"))


async def list_all(request: web.Request) -> web.Response:
    query = read_query(request, ListQuery)
    page = context_of(request).catalog.page(
        Query(
            limit=query.limit,
            cursor=unpack_cursor(query.cursor) if query.cursor else None,
            status=query.status,
            algorithm=query.algorithm,
            algorithm_major_version=query.algorithm_major_version,
            oldest_first=query.sort == "oldest",
        )
    )
    return json_answer(page, headers=_next_link(request, page))


def _next_link(request: web.Request, page: ExecutionPage) -> dict[str, str]:
    if page.next_cursor is None:
        return {}
    query = [(name, value) for name, value in request.query.items() if name != "cursor"]
    return {"Link": f'<{request.path}?{urlencode([*query, ("cursor", page.next_cursor)])}>; rel="next"'}


async def find_run(request: web.Request) -> LiveRun:
    """The run that the path names. Raises NotFound (`execution_record_not_found`)."""
    identifier = request.match_info["execution_id"]
    run = await _find(context_of(request), identifier)
    if run is None:
        raise NotFound(
            f"There is no execution {identifier[:200]!r}; its record may have expired.",
            code="execution_record_not_found",
            details={"execution_id": identifier},
        )
    return run


async def _find(context: Context, identifier: str) -> LiveRun | None:
    return await context.view.find(identifier) if is_id(identifier) else None


_NOT_FOUND = {404: ("execution_record_not_found",)}

ROUTES = [
    Route(
        "POST",
        "/api/v0/execute-algorithm",
        execute,
        "Run an algorithm on files",
        "Executions",
        {200: ExecutionResponse},
        {
            404: (
                "input_datasets_not_found",
                "algorithm_not_found",
                "minor_version_not_found",
                "checkpoint_not_found",
            ),
            422: ("idempotency_key_reused",),
        },
        body=ExecutionRequest,
        headers=(IDEMPOTENCY_KEY,),
    ),
    Route(
        "GET",
        "/api/v0/executions/{execution_id}",
        get_v0,
        "The record of an execution; its log is empty until the end",
        "Executions",
        {200: ExecutionRecord},
        _NOT_FOUND,
    ),
    Route(
        "POST",
        "/api/v0/executions/{execution_id}/stop",
        stop,
        "Ask an execution to stop",
        "Executions",
        {200: ResponseMessage},
        {**_NOT_FOUND, 400: ("execution_not_stoppable",)},
    ),
    Route(
        "GET",
        "/api/v1/executions",
        list_all,
        "List executions, page by page",
        "Executions",
        {200: ExecutionPage},
        query=ListQuery,
    ),
    Route(
        "GET",
        "/api/v1/executions/{execution_id}",
        get,
        "The record of an execution as it is now, with the log so far; or as soon as it has ended",
        "Executions",
        {200: ExecutionRecord},
        _NOT_FOUND,
        query=RecordQuery,
    ),
]
