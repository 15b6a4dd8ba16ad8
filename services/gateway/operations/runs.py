"""What is the same for runs of every task: to find one, to ask for one, to stop one, to delete its record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel

from messages.records import RecordsDeleteRequested
from messages.runs import RunRequested, RunStopRequested, Task, Work
from services.gateway.context import Context
from services.gateway.http.idempotency import Key, Once, fingerprint_of
from services.gateway.operations import inputs, limits
from services.gateway.views.runs import LiveRun
from shared.bus.limits import check_first
from shared.caller import Caller
from shared.keeping import kept_runs
from shared.records.ledger import SETTLED_SECS
from voxloom.errors import Conflict, NotFound
from voxloom.ids import is_id, new_id
from voxloom.models import utc_now

DELETED_AT_ONCE = 1000
"""Records that one event asks to delete."""


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
    """The run's id, and what is odd about what was asked for. `repeated`: it was asked for before."""

    run: str
    warnings: list[str]
    repeated: bool = False


async def find_run(context: Context, caller: Caller, task: Task, identifier: str) -> LiveRun:
    """Raises NotFound where no run of that task is called so."""
    naming = NAMING[task]
    run = await context.view.find(identifier) if is_id(identifier) else None
    if run is None or not caller.owns(run.state.project) or run.state.work is None or run.state.work.task != task:
        raise NotFound(
            f"There is no {task} {identifier[:200]!r}; its record may have expired.",
            code=naming.not_found,
            details={naming.identifier: identifier},
        )
    return run


class Wish(NamedTuple):
    """What is asked for: `request` as it was sent, by which it is known again; `work` makes of it what is to be done.
    `operation` says which way it came in."""

    operation: str
    request: BaseModel
    work: Callable[[], Awaitable[Work]]
    run: str | None = None
    """The id that the run is to have; None: a new one."""
    may_be_unsaid: bool = False
    """Whether an earlier request under the same key may never have come as far as to be published, however long ago."""


async def ask(context: Context, caller: Caller, wish: Wish, key: Key | None) -> Asked:
    """Publishes the request for a run, once under an idempotency key. Raises what the limits of its project refuse it
    with (`operations.limits`)."""
    with limits.entry_of(context, caller) as entry:
        if key is None:
            event = await _requested(context, caller, wish, entry)
            await context.publish(event)
            return Asked(event.subject, event.work.warnings)
        once = _AskOnce(context, caller, wish, entry)
        event = await once.event(context.keys, key)
        if not await context.view.knows(event.subject):
            await context.publish(event)
        return Asked(event.subject, event.work.warnings, repeated=event is not once.made)


async def _requested(context: Context, caller: Caller, wish: Wish, entry: limits.Entry) -> RunRequested:
    if wish.run is not None and await context.view.knows(wish.run):
        raise _taken(wish.run)
    await entry.enter()
    work = await limits.within(context, caller, await wish.work())
    run = wish.run or new_id()
    await inputs.hold(context, caller, run, work)
    return RunRequested(task=work.task, subject=run, project=caller.project, actor=caller.actor, work=work)


class _AskOnce(Once[RunRequested]):
    kind = RunRequested

    def __init__(self, context: Context, caller: Caller, wish: Wish, entry: limits.Entry) -> None:
        self._context = context
        self._caller = caller
        self._wish = wish
        self._entry = entry
        self.made: RunRequested | None = None

    async def make(self) -> RunRequested:
        event = await _requested(self._context, self._caller, self._wish, self._entry)
        check_first(event)  # before a key is taken for it
        self.made = event
        return event

    async def holds(self, event: RunRequested) -> bool:
        """Not that of a run whose record was deleted a while ago: said again, it would run under a spent id."""
        young = utc_now() - event.time < timedelta(seconds=SETTLED_SECS)
        holds = young or await self._context.view.knows(event.subject)
        if not holds and self._wish.run is not None and not self._wish.may_be_unsaid:
            raise _taken(self._wish.run)
        return holds

    def fingerprint(self) -> str:
        content = self._wish.request.model_dump()
        return fingerprint_of(self._wish.operation, content if self._wish.run is None else [self._wish.run, content])


def _taken(run: str) -> Conflict:
    return Conflict(
        f"There is or was a run with the id {run}; make a new id for each run.",
        code="execution_id_taken",
        details={"execution_id": run},
    )


async def stop(context: Context, caller: Caller, run: LiveRun) -> None:
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
    facts: dict[str, Any] = {"subject": state.run, "project": state.project, "actor": caller.actor}
    await context.publish(RunStopRequested(task=state.work.task, **facts))


async def delete_record(context: Context, caller: Caller, run: LiveRun) -> None:
    """Raises Conflict where the run has not ended."""
    state = run.state
    assert state.work is not None
    task = state.work.task
    if not state.ended:
        raise Conflict(
            f"The {task} has not ended ({state.status}); stop it, and delete its record after that.",
            code=f"{task}_not_ended",
            details={NAMING[task].identifier: state.run, "status": state.status},
        )
    await delete_records(context, caller, state.project, [state.run])


async def delete_ended(context: Context, caller: Caller) -> None:
    """The records of all executions that have ended, and that nobody keeps."""
    kept = await kept_runs(context.store, caller.project)
    ended = [one for one in context.catalog.ended_runs(caller.project) if one not in kept]
    await delete_records(context, caller, caller.project, ended, unless_kept=True)


async def delete_records(
    context: Context, caller: Caller, project: str, runs: Sequence[str], *, unless_kept: bool = False
) -> None:
    """Those of runs of the project that have ended. `unless_kept`: what somebody keeps just now stays; the recorder
    looks."""
    told: dict[str, Any] = {"project": project, "actor": caller.actor, "unless_kept": unless_kept}
    for start in range(0, len(runs), DELETED_AT_ONCE):
        some = list(runs[start : start + DELETED_AT_ONCE])
        await context.publish(RecordsDeleteRequested(subject=new_id(), runs=some, **told))
