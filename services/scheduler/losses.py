"""What is said of a worker that is lost: in the scheduler's log, and in the record of a run that ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from messages.base import Event
from voxloom.models import RunError

MOST_NAMED = 20
"""Runs that one line names; beyond, it says how many more there are."""

_BECOMES = {
    "requeued": "is tried again",
    "failed": "FAILED (worker_lost): it was lost too often",
    "stopped": "is STOPPED, as was asked",
}
_WHY = {
    "silent": "nothing was heard of it for {silence:.1f} s",
    "replaced": "another process has begun under its name, and nothing was heard of it for {silence:.1f} s",
}


class Loss(NamedTuple):
    """One incarnation of a worker that is over and did not say goodbye."""

    worker_id: str
    incarnation: str
    reason: Literal["silent", "replaced"]
    silence: float
    """Seconds since it was last heard here."""
    ends: Sequence[Event]
    """What was decided of each run that it held."""


def told(loss: Loss) -> str:
    why = _WHY[loss.reason].format(silence=loss.silence)
    return f"the worker {loss.worker_id} ({loss.incarnation}) is lost: {why}; {_runs(loss.ends)}"


def _runs(ends: Sequence[Event]) -> str:
    if not ends:
        return "it held no run"
    named = [f"{end.subject} {_BECOMES.get(end.verb, end.verb)}" for end in ends[:MOST_NAMED]]
    more = [f"and {len(ends) - MOST_NAMED} more"] if len(ends) > MOST_NAMED else []
    return f"of its {len(ends)} runs: {', '.join(named + more)}" if len(ends) > 1 else f"its run {named[0]}"


def worker_lost(worker_id: str, lost: int) -> RunError:
    return RunError(
        type="WorkerLost",
        message=f"The worker went away {lost} times during this run (last: {worker_id}). "
        "If the run itself brings it down, look at its memory; else run it again.",
        code="worker_lost",
        retryable=True,
    )
