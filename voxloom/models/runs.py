"""Executions, and where any run stands."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, FailFast, Field

from voxloom.models.people import Submitter
from voxloom.models.times import Time, TimeOrEmpty
from voxloom.values import RunError, Value


class Status(StrEnum):
    """Where a run stands. STARTED: a worker has it. RUNNING: the author's code has begun."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED})


WaitingReason = Literal["no_device", "worker_away", "others_first", "starting", "project_limit"]


class Waiting(Value):
    """Why a run has not begun. `no_device`: no worker has a device that it wants. `worker_away`: those that have one,
    or the one that the run was given to, are not heard. `others_first`: all slots are taken, and `ahead` waiting runs
    of the same project come first. `starting`: there is a free slot for it. `project_limit`: workers have as many runs
    of its project as its limits allow, and `ahead` waiting ones come first."""

    reason: WaitingReason
    ahead: int = 0


def dict_if_none(value: Any) -> Any:
    return {} if value is None else value


class ExecutionRequest(Value):
    """What a client sends to start an execution."""

    algorithm_id: str
    input_dataset_ids: Annotated[list[str], FailFast()]  # There may be a hundred thousand; one fault is enough.
    """Ids of files; may be empty."""
    checkpoint_id: str | None = None
    """Run with the assets of this checkpoint in place of the algorithm's own."""
    algorithm_minor_version: str | None = None
    """None: the latest."""
    execution_device_override: str | None = None
    """`cpu`, `gpu` or `mps` in place of the algorithm's default."""
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(dict_if_none)] = {}
    """Checked against what the algorithm declares (422), its defaults filled in; others are passed on."""
    session_token: str | None = None
    """Runs with the same one share a session, in which the algorithm keeps things."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Higher goes first."""


class ExecutionResponse(Value):
    execution_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class ExecutionRecord(Value):
    """One execution. Before the end: `time_completed` is "", outputs are `[]`. `time_started` is when the author's code
    began, null before that; on /api/v0 it is the submit time."""

    execution_id: str
    algorithm_id: str
    checkpoint_id: str | None = None
    algorithm_minor_version: str | None = None
    input_dataset_ids: list[str]
    execution_device_override: str | None = None
    resolved_execution_device: str | None = None
    additional_parameters: dict[str, Any]
    """As they were sent."""
    session_token: str | None
    output_dataset_ids: list[str] = []
    """Ids of files."""
    status: Status
    progress: float = 0.0
    time_started: Time | None
    """When its code began, None before that; on /api/v0 when it was submitted."""
    time_completed: TimeOrEmpty = ""
    log: str = ""
    """So far."""
    # Ours.
    time_submitted: TimeOrEmpty = ""
    """When somebody asked for it."""
    waiting: Waiting | None = None
    """While it has not begun."""
    state: dict[str, Any] = {}
    """The newest that the algorithm has said of itself with `set_state`."""
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    execution_card: str | None = None
    resolved_parameters: dict[str, Any] = {}
    """As the algorithm got them."""
    queue_seconds: float | None = None
    """From submit to the begin of its code."""
    run_seconds: float | None = None
    """From the begin of its code to the end."""
    peak_memory_bytes: int | None = None
    stop_requested: bool = False
    error: RunError | None = None
    submitted_by: Submitter = None
    kept: bool = False
    """It does not expire."""
    expires_at: Time | None = None
    """The record may be gone from then on; None: it stays, or the run has not ended."""


class ExecutionSummary(Value):
    """One row of a list of executions. `time_started` is when the author's code began, null before that. The error has
    the beginning of its message, and no details."""

    execution_id: str
    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str | None
    status: Status
    progress: float
    time_started: Time | None
    time_completed: TimeOrEmpty
    project: str
    attempt: int
    time_submitted: TimeOrEmpty = ""
    error: RunError | None = None
    task: Literal["execution", "training", "benchmark"] = "execution"
    submitted_by: Submitter = None
