"""The events of a run, whatever its task: which class says it of an execution, a training, a benchmark."""

from __future__ import annotations

from typing import TypeVar, get_args

from messages import benchmarks, trainings
from messages.base import Event
from messages.executions import Task

RUN_ENTITIES: tuple[Task, ...] = get_args(Task)
"""What an event can be about that is about a run."""

_E = TypeVar("_E", bound=Event)

_NAMED = {
    (cls.__bases__[0], cls.entity): cls
    for module in (trainings, benchmarks)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Event) and cls.__module__ == module.__name__
}


def of_task(kind: type[_E], task: str) -> type[_E]:
    """The event of that kind of an execution, as it is said of a run with that task: `TrainingStarted` for
    `ExecutionStarted`."""
    found: type[_E] = _NAMED.get((kind, task), kind)  # type: ignore[assignment]  # its bases say so
    return found


def is_of_run(event: Event) -> bool:
    return event.entity in RUN_ENTITIES
