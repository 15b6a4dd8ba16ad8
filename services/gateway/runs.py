"""What is the same for runs of every task: to find one, to ask for one, to stop one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple, TypeVar

from aiohttp import web
from pydantic import BaseModel

from messages.executions import ExecutionRequested, ExecutionStopRequested, Task, Work
from messages.runs import of_task
from services.gateway.context import Context, context_of
from services.gateway.idempotency import Once, fingerprint_of, key_of
from services.gateway.live import LiveRun, LiveView
from services.gateway.payloads import json_answer, json_bytes, read_json
from shared.bus.limits import check_first
from shared.records.ledger import SETTLED_SECS
from voxloom.errors import Conflict, NotFound
from voxloom.ids import is_id, new_id
from voxloom.models import ResponseMessage, utc_now

M = TypeVar("M", bound=BaseModel)


class Naming(NamedTuple):
    """How a task is called in paths, bodies and codes."""

    identifier: str
    not_found: str
    not_stoppable: str


NAMING: dict[Task, Naming] = {
    "execution": Naming("execution_id", "execution_record_not_found", "execution_not_stoppable"),
    "training": Naming("training_id", "training_record_not_found", "training_not_stoppable"),
    "benchmark": Naming("benchmark_id", "benchmark_record_not_found", "benchmark_not_stoppable"),
}


class Asked(NamedTuple):
    """The run's id, and what is odd about what was asked for."""

    run: str
    warnings: list[str]

    def answer(self, model: type[BaseModel], name: str) -> web.Response:
        """Most runs have no warnings, and their answers say nothing of them."""
        if not self.warnings:
            return json_bytes(b'{"%b":"%b"}' % (name.encode(), self.run.encode()))
        return json_answer(model.model_validate({name: self.run, "warnings": self.warnings}))


async def find_run(request: web.Request, task: Task = "execution") -> LiveRun:
    """The run of that task that the path names. Raises NotFound."""
    naming = NAMING[task]
    identifier = request.match_info[naming.identifier]
    run = await context_of(request).view.find(identifier) if is_id(identifier) else None
    if run is None or run.state.work is None or run.state.work.task != task:
        raise NotFound(
            f"There is no {task} {identifier[:200]!r}; its record may have expired.",
            code=naming.not_found,
            details={naming.identifier: identifier},
        )
    return run


async def ask_for(
    request: web.Request, model: type[M], work_of: Callable[[Context, M], Awaitable[Work]], operation: str
) -> Asked:
    """Publishes the request for a run that the body means, once under an idempotency key."""
    context, key = context_of(request), key_of(request)
    wanted = await read_json(request, model)
    return await ask(context, key, wanted, lambda: work_of(context, wanted), operation)


async def ask(
    context: Context, key: str | None, wanted: BaseModel, work_of: Callable[[], Awaitable[Work]], operation: str
) -> Asked:
    """The same for what was read already."""
    if key is None:
        event = await _asked(work_of)
        await context.publish(event)
        return Asked(event.subject, event.work.warnings)
    event = await _AskOnce(wanted, work_of, operation, context.view).event(context.keys, key)
    if not await context.view.knows(event.subject):
        await context.publish(event)
    return Asked(event.subject, event.work.warnings)


async def _asked(work_of: Callable[[], Awaitable[Work]]) -> ExecutionRequested:
    work = await work_of()
    event = of_task(ExecutionRequested, work.task)(subject=new_id(), work=work)
    check_first(event)  # before a key is taken for it
    return event


class _AskOnce(Once[ExecutionRequested]):
    kind = ExecutionRequested

    def __init__(
        self, wanted: BaseModel, work_of: Callable[[], Awaitable[Work]], operation: str, view: LiveView
    ) -> None:
        self._wanted = wanted
        self._work_of = work_of
        self._operation = operation
        self._view = view

    async def make(self) -> ExecutionRequested:
        return await _asked(self._work_of)

    async def holds(self, event: ExecutionRequested) -> bool:
        """Not that of a run whose record was deleted a while ago: said again, it would run under a spent id."""
        return utc_now() - event.time < timedelta(seconds=SETTLED_SECS) or await self._view.knows(event.subject)

    def fingerprint(self) -> str:
        return fingerprint_of(self._operation, self._wanted.model_dump())


async def ask_to_stop(context: Context, run: LiveRun) -> web.Response:
    """Raises Conflict, as 400, for one that has ended."""
    state = run.state
    assert state.work is not None
    naming = NAMING[state.work.task]
    if state.ended:
        raise Conflict(
            f"The {state.work.task} has ended already ({state.status}); there is nothing to stop.",
            code=naming.not_stoppable,
            http_status=400,
            details={naming.identifier: state.run, "status": state.status},
        )
    kind = of_task(ExecutionStopRequested, state.work.task)
    await context.publish(kind(subject=state.run, project=state.project))
    return json_answer(ResponseMessage(detail="Stop request posted successfully"))
