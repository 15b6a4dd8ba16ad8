"""The queues of the system: who hears what. Every process declares all of them before its first publish."""

from __future__ import annotations

from collections.abc import Iterable

from messages.base import SWEEPER_INBOX, worker_inbox
from messages.runs import TASKS
from shared.bus.base import KEEP, RETRY, Queue
from shared.records.registry import KINDS


def _of_runs(*verbs: str) -> tuple[str, ...]:
    """These events of every run, whatever its task."""
    return tuple(f"{entity}.{verb}.#" for entity in TASKS for verb in verbs)


STREAM_PATTERN = "*.*.*.*.#"
"""What everybody may hear of: entity, verb, project, subject. An inbox is somebody's own."""

RECORDER = Queue(
    name="recorder",
    bindings=(
        *_of_runs(
            "requested",
            "stop-requested",
            "assigned",
            "started",
            "requeued",
            "completed",
            "failed",
            "stopped",
        ),
        "training.checkpoint-saved.#",
        "training.checkpoint-dropped.#",
        *(f"{kind.name}.#" for kind in KINDS),
        "record.delete-requested.#",
        "scheduler.started.#",
    ),
    policy=KEEP,
    batch=1000,
    linger=0.05,
    single_active=True,
)

SCHEDULER = Queue(
    name="scheduler",
    bindings=(
        *_of_runs("requested", "stop-requested", "started", "finished"),
        "worker.started.#",
        "worker.draining.#",
        "worker.stopped.#",
        "scheduler.waiting.#",
        "gateway.found-loss.#",
        "control.changed.#",
    ),
    policy=KEEP,
    batch=500,
    single_active=True,
)

INGEST = Queue(
    name="ingest",
    bindings=("file.uploaded.#", "file.delete-requested.#", "sample.created.#"),
    policy=RETRY,
    concurrency=4,
)

# Ended runs whose attempts have posted files: what nobody will ever see is swept.
SWEEPER = Queue(
    name="sweeper",
    bindings=(SWEEPER_INBOX,),
    former_bindings=_of_runs("completed", "failed", "stopped"),
    policy=RETRY,
    batch=100,
    linger=0.1,
)

DEPLOYER = Queue(
    name="deployer",
    bindings=("deploy.requested.#", "algorithm.delete-requested.#"),
    policy=RETRY,
    concurrency=2,
)

ALL = (RECORDER, SCHEDULER, INGEST, SWEEPER, DEPLOYER)


def admission_queue(instance: str) -> Queue:
    """Where one scheduler hears who has been admitted: itself, or one that takes its place."""
    return Queue(name=f"scheduler.{instance}", bindings=("scheduler.admitted.#",), policy=KEEP, expires=60.0)


def worker_queue(incarnation: str) -> Queue:
    """One worker's own queue: assignments and stops, in the order they were decided; and which epoch counts."""
    return Queue(
        name=f"worker.{incarnation}",
        bindings=(worker_inbox(incarnation), "scheduler.admitted.#"),
        policy=KEEP,
        batch=100,
        expires=60.0,
    )


def in_stream(keys: Iterable[str]) -> bool:
    """Whether one of the routing keys fits STREAM_PATTERN."""
    return any(key.count(".") >= 3 for key in keys)


def matches(pattern: str, key: str) -> bool:
    """Whether a routing key fits a topic pattern (AMQP 0-9-1: `*` is one word, `#` none or more)."""
    return _fits(pattern.split("."), key.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    for index, part in enumerate(pattern):
        if part == "#":
            rest = pattern[index + 1 :]
            return any(_fits(rest, words[start:]) for start in range(index, len(words) + 1))
        if index >= len(words) or part not in ("*", words[index]):
            return False
    return len(pattern) == len(words)
