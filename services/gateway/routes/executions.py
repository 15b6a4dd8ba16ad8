"""Executions: ask for one, read its record, stop it, list all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from messages.runs import Task
from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.gateway.http.paging import Page, PageQuery, page_answer
from services.gateway.http.payloads import json_answer, json_list, read_query
from services.gateway.http.routing import Many, Route
from services.gateway.operations.runs import delete_ended
from services.gateway.routes import examples
from services.gateway.routes.run_requests import (
    LIMITED,
    RecordQuery,
    ask_for,
    asked_answer,
    delete_record,
    record_answer,
    run_of,
    stop_run,
    waited_record,
)
from services.gateway.views.catalog import Query, Sort
from services.gateway.views.rest import NOT_IN_V0, as_in_v0
from services.gateway.views.runs import LiveRun
from shared.pinning import strict_work_of, work_of
from shared.records.view import Heard, execution_record
from voxloom.errors import NotFound
from voxloom.models import (
    ExecutionRecord,
    ExecutionRequest,
    ExecutionResponse,
    ExecutionSummary,
    ResponseMessage,
    Status,
)

MOST_RECORDS = 1000
"""How many records the list without pages has: the newest."""
READ_AT_ONCE = 50


class ListQuery(PageQuery):
    status: Annotated[list[Status], Field(description="One of these.")] = []
    algorithm: Annotated[str | None, Field(description="An algorithm's id, or its name without regard to case.")] = None
    algorithm_major_version: Annotated[str | None, Field(description="Is of this major version.")] = None
    project: Annotated[str | None, Field(description="Is of this project.")] = None
    submitted_by: Annotated[str | None, Field(description="Was asked for by this principal.")] = None
    since: Annotated[datetime | None, Field(description="Submitted then or later; without an offset, in UTC.")] = None
    until: Annotated[datetime | None, Field(description="Submitted before then.")] = None
    sort: Annotated[
        Sort,
        Field(
            description="What comes first: by submit time; by how long a run took from submit to end, where one that "
            "goes on is the shortest; or by status from PENDING to STOPPED, the newest first within each."
        ),
    ] = "newest"


async def execute(request: web.Request) -> web.Response:
    """`execution_device_override` is ignored if the algorithm does not support that device, with a WARNING in the log:
    some clients always ask for `gpu`. `cpu` always works, unless the setting `cpu_fallback` is off.

    Algorithms for images (`Image2…`) take one image per file, so a stack of N slices is N files. The client and
    `voxloom run` split a stack into files and make a stack of the outputs.
    """
    asked = await ask_for(request, ExecutionRequest, work_of, "execute-algorithm")
    return asked_answer(asked, ExecutionResponse, "execution_id")


async def execute_v1(request: web.Request) -> web.Response:
    """As [POST /api/v0/execute-algorithm](#post-apiv0execute-algorithm), but a device that the algorithm does not
    support is refused with 422.
    """
    asked = await ask_for(request, ExecutionRequest, strict_work_of, "executions")
    return asked_answer(asked, ExecutionResponse, "execution_id")


async def get_v0(request: web.Request) -> web.Response:
    """The same record as [GET /api/v1/executions/{execution_id}](#get-apiv1executionsexecution_id) at once, but
    `time_started` is when the run was submitted, as existing clients expect it, and `waiting` is null.
    """
    return await record_answer(request, await run_of(request, "execution"), as_v0=True)


async def get(request: web.Request) -> web.Response:
    """With `?wait=30` the answer comes when the run has ended, or after 30 seconds.

    `status` goes PENDING → STARTED (a worker has it) → RUNNING (its code runs) → COMPLETED, FAILED or STOPPED. A run
    that has not begun says in `waiting.reason` what it waits for:

    * `others_first`: all slots are busy; `waiting.ahead` waiting runs of the same project come first;
    * `no_device`: no worker has a device that the run can use;
    * `worker_away`: the worker that has such a device, or that has got the run, does not answer; after `lease` seconds
      another worker gets the run;
    * `starting`: there is a free slot for it;
    * `project_limit`: workers have as many runs of its project as its [limits](access.md#limits) allow;
      `waiting.ahead` waiting runs of the same project come first.

    `error` has `type`, `message`, `code`, `retryable`, and `details` where the algorithm's exception has some.
    """
    return await waited_record(request, "execution")


async def stop(request: web.Request) -> web.Response:
    """A little later the run is STOPPED: its process has ended. If the run has ended before, the answer is 400
    `execution_not_stoppable`.
    """
    return await stop_run(request, "execution")


async def list_all(request: web.Request) -> web.Response:
    """In [pages](#lists). `error` of a run that has failed has the beginning of its message."""
    return page_answer(request, page_of_runs(request, "execution"))


def page_of_runs(request: web.Request, task: Task) -> Page[ExecutionSummary]:
    """The page of runs of that task that the query asks for."""
    wanted = read_query(request, ListQuery)
    query = Query(
        page=wanted,
        status=wanted.status,
        algorithm=wanted.algorithm,
        algorithm_major_version=wanted.algorithm_major_version,
        within=caller_of(request).within,
        project=wanted.project,
        submitted_by=wanted.submitted_by,
        since=_utc(wanted.since),
        until=_utc(wanted.until),
        sort=wanted.sort,
        task=task,
    )
    return context_of(request).catalog.page(query)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


async def list_whole(request: web.Request) -> web.Response:
    """The records are whole, the newest first."""
    context = context_of(request)
    ended = [status for status in Status if status.terminal]
    page = context.catalog.page(Query(PageQuery(limit=MOST_RECORDS), caller_of(request).within, status=ended))
    found: list[LiveRun | None] = []
    for start in range(0, len(page.items), READ_AT_ONCE):
        rows = page.items[start : start + READ_AT_ONCE]
        found += await asyncio.gather(*(context.view.find(row.execution_id) for row in rows))
    records = [execution_record(run.state, Heard(progress=run.progress)) for run in found if run is not None]
    return json_list([as_in_v0(record) for record in records], without=NOT_IN_V0)


async def delete_whole(request: web.Request) -> web.Response:
    """The output files stay."""
    await delete_ended(context_of(request), caller_of(request))
    return json_answer(ResponseMessage(detail="Deleted all execution records"))


async def delete_v0(request: web.Request) -> web.Response:
    """If there is no such record, the answer is 200, too. If the run has not ended, it is 409 `execution_not_ended`."""
    with suppress(NotFound):
        await delete_record(request, "execution")
    return json_answer(ResponseMessage(detail="Deleted execution record"))


async def delete(request: web.Request) -> web.Response:
    """404 if there is none. If the run has not ended, the answer is 409 `execution_not_ended`."""
    await delete_record(request, "execution")
    return json_answer(ResponseMessage(detail="Deleted execution record"))


_NOT_FOUND = {404: ("execution_record_not_found",)}
_NOT_ENDED = {409: ("execution_not_ended",)}
_NOT_EXECUTED = {
    404: ("input_datasets_not_found", "algorithm_not_found", "minor_version_not_found", "checkpoint_not_found"),
    422: ("idempotency_key_reused",),
    **LIMITED,
}

ROUTES = [
    Route(
        "POST",
        "/api/v0/execute-algorithm",
        execute,
        "Run an algorithm on files",
        "Executions",
        {200: ExecutionResponse},
        _NOT_EXECUTED,
        body=ExecutionRequest,
        headers=(IDEMPOTENCY_KEY,),
        examples=(examples.EXECUTE,),
        needs="run",
    ),
    Route(
        "POST",
        "/api/v1/executions",
        execute_v1,
        "Run an algorithm on files; a device that it does not support is refused",
        "Executions",
        {200: ExecutionResponse},
        _NOT_EXECUTED,
        body=ExecutionRequest,
        headers=(IDEMPOTENCY_KEY,),
        needs="run",
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
        examples=(examples.EXECUTION,),
        needs="read",
    ),
    Route(
        "GET",
        "/api/v0/executions/{execution_id}",
        get_v0,
        "The record of an execution as it is now, with the log so far",
        "Executions",
        {200: ExecutionRecord},
        _NOT_FOUND,
        needs="read",
    ),
    Route(
        "GET",
        "/api/v1/executions",
        list_all,
        "List executions, page by page",
        "Executions",
        {200: Many(ExecutionSummary)},
        query=ListQuery,
        examples=(examples.EXECUTIONS,),
        needs="read",
    ),
    Route(
        "POST",
        "/api/v0/executions/{execution_id}/stop",
        stop,
        "Ask an execution to stop",
        "Executions",
        {200: ResponseMessage},
        {**_NOT_FOUND, 400: ("execution_not_stoppable",)},
        examples=(examples.STOP,),
        needs="run",
    ),
    Route(
        "POST",
        "/api/v1/executions/{execution_id}/stop",
        stop,
        "Ask an execution to stop",
        "Executions",
        {200: ResponseMessage},
        {**_NOT_FOUND, 400: ("execution_not_stoppable",)},
        needs="run",
    ),
    Route(
        "GET",
        "/api/v0/execute-algorithm/all",
        list_whole,
        f"The records of executions that have ended, the newest {MOST_RECORDS} at most",
        "Executions",
        {200: Many(ExecutionRecord)},
        needs="read",
    ),
    Route(
        "DELETE",
        "/api/v0/execute-algorithm/all",
        delete_whole,
        "Delete the records of all executions that have ended",
        "Executions",
        {200: ResponseMessage},
        needs="run",
    ),
    Route(
        "DELETE",
        "/api/v0/execute-algorithm/{execution_id}",
        delete_v0,
        "Delete the record of an execution that has ended; without one all is well, too",
        "Executions",
        {200: ResponseMessage},
        _NOT_ENDED,
        needs="run",
    ),
    Route(
        "DELETE",
        "/api/v1/executions/{execution_id}",
        delete,
        "Delete the record of an execution that has ended",
        "Executions",
        {200: ResponseMessage},
        {**_NOT_FOUND, **_NOT_ENDED},
        needs="run",
    ),
]
