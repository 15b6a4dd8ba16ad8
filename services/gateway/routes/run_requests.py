"""What the routes of runs of every task do with a request and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field

from messages.runs import Task, Work
from services.gateway.context import context_of
from services.gateway.http.callers import caller_of
from services.gateway.http.idempotency import key_of
from services.gateway.http.payloads import json_answer, json_bytes, read_json, read_query
from services.gateway.operations import keeping, runs
from services.gateway.operations.inventory import Inventory
from services.gateway.operations.logs import shown_log
from services.gateway.views.runs import LiveRun
from voxloom.models import ResponseMessage, Value

M = TypeVar("M", bound=BaseModel)

LONGEST_WAIT_SECS = 60
LIMITED = {409: ("stored_bytes_exceeded", "device_not_allowed"), 429: ("too_many_runs_waiting",)}
"""What the limits of its project may refuse a run with."""


class RecordQuery(Value):
    wait: Annotated[
        float, Field(ge=0, le=LONGEST_WAIT_SECS, description="Seconds to wait for the run's end before answering.")
    ] = 0.0


async def run_of(request: web.Request, task: Task) -> LiveRun:
    """The one that the path names. Raises NotFound."""
    identifier = request.match_info[runs.NAMING[task].identifier]
    return await runs.find_run(context_of(request), caller_of(request), task, identifier)


async def ask_for(
    request: web.Request, model: type[M], work_of: Callable[[Inventory, M], Awaitable[Work]], operation: str
) -> runs.Asked:
    """The run that the body means."""
    key, inventory = key_of(request), Inventory(context_of(request), caller_of(request))
    wanted = await read_json(request, model)
    wish = runs.Wish(operation, wanted, lambda: work_of(inventory, wanted))
    return await runs.ask(inventory.context, inventory.caller, wish, key)


def asked_answer(asked: runs.Asked, model: type[BaseModel], name: str) -> web.Response:
    """Most runs have no warnings, and their answers say nothing of them."""
    if not asked.warnings:
        return json_bytes(b'{"%b":"%b"}' % (name.encode(), asked.run.encode()))
    return json_answer(model.model_validate({name: asked.run, "warnings": asked.warnings}))


async def record_answer(request: web.Request, run: LiveRun, *, as_v0: bool = False) -> web.Response:
    context = context_of(request)
    heard = context.heard_of(run, await shown_log(context, run))
    if run.state.ended and not as_v0:
        heard = await keeping.with_times(context, run, heard)
    return json_bytes(context.shown.json(run.state, heard, as_v0=as_v0))


async def waited_record(request: web.Request, task: Task, *, as_v0: bool = False) -> web.Response:
    """The record as it is now, or as soon as the run has ended."""
    query = read_query(request, RecordQuery)
    run = await run_of(request, task)
    if query.wait and not run.state.ended:
        await context_of(request).view.wait_until_ended(run, query.wait)
    return await record_answer(request, run, as_v0=as_v0)


async def stop_run(request: web.Request, task: Task) -> web.Response:
    await runs.stop(context_of(request), caller_of(request), await run_of(request, task))
    return json_answer(ResponseMessage(detail="Stop request posted successfully"))


async def delete_record(request: web.Request, task: Task) -> None:
    await runs.delete_record(context_of(request), caller_of(request), await run_of(request, task))
