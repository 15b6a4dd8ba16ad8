"""Trainings, and the checkpoints that they leave."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field

from voxloom.models.people import Submitter
from voxloom.models.runs import Status, Waiting, dict_if_none
from voxloom.models.times import Time, TimeOrEmpty
from voxloom.values import RunError, Value


class TrainingRequest(Value):
    """What a client sends to start a training."""

    algorithm_id: str
    training_data: Annotated[list[str], FailFast()]
    """Ids of samples, one at least."""
    checkpoint_id: str | None = None
    """Begin with the assets of this checkpoint; by default with the algorithm's own."""
    algorithm_minor_version: str | None = None
    """None: the latest."""
    tags: list[str] = []
    """Kept with the training and with its checkpoints."""
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(dict_if_none)] = {}
    """Checked against the algorithm's `training_parameters`, their defaults filled in."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Higher goes first."""


class TrainingResponse(Value):
    training_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class TrainingRecord(Value):
    """One training. Before the end `time_completed` is null and `state` what the algorithm says of itself."""

    training_id: str
    algorithm_id: str
    status: Status
    progress: float = 0.0
    time_started: Time | None
    time_completed: Time | None = None
    """None until the end."""
    log: str | None = None
    """So far."""
    training_data: list[str]
    additional_parameters: dict[str, Any] | None = None
    state: dict[str, Any] = {}
    """What the algorithm says of itself: losses, the epoch."""
    tags: list[str] = []
    checkpoint_id: str | None = None
    """What it began with, if not the algorithm's own assets."""
    algorithm_minor_version: str | None = None
    output_checkpoint_ids: list[str] = []
    """Each as soon as it is saved."""
    # Ours.
    time_submitted: TimeOrEmpty = ""
    waiting: Waiting | None = None
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    resolved_execution_device: str | None = None
    execution_card: str | None = None
    resolved_parameters: dict[str, Any] = {}
    queue_seconds: float | None = None
    run_seconds: float | None = None
    peak_memory_bytes: int | None = None
    stop_requested: bool = False
    error: RunError | None = None
    submitted_by: Submitter = None
    kept: bool = False
    """It does not expire."""
    expires_at: Time | None = None
    """The record may be gone from then on; None: it stays, or the run has not ended."""


class TrainingSummary(Value):
    """One row of a list of trainings."""

    training_id: str
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
    submitted_by: Submitter = None


class CheckpointRecord(Value):
    """Assets that an execution or a training can begin with in place of the algorithm's own."""

    checkpoint_id: str
    training_id: str
    parent_algorithm_id: str
    created_at: Time
    properties: dict[str, Any]
    """What the algorithm wrote to it."""
    tags: list[str] = []
    parent_checkpoint_id: str | None = None
    """What its training began with."""
    # Ours.
    algorithm_name: str = ""
    algorithm_major_version: str = ""
    algorithm_minor_version: str = ""
    asset_paths: list[str] = []
    project: str = "default"
