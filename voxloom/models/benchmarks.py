"""Benchmarks: how algorithms measure themselves."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from voxloom.models.people import Submitter
from voxloom.models.runs import Status, Waiting, dict_if_none
from voxloom.models.times import Time, TimeOrEmpty
from voxloom.values import RunError, Value


class BenchmarkRequest(Value):
    """What a client sends to have an algorithm measure itself."""

    algorithm_id: str
    algorithm_minor_version: str | None = None
    """None: the latest."""
    checkpoint_id: str | None = None
    """Run with the assets of this checkpoint in place of the algorithm's own."""
    execution_device_override: str | None = None
    """`cpu`, `gpu` or `mps` in place of the algorithm's default."""
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(dict_if_none)] = {}
    """As for executions."""


class BenchmarkResponse(Value):
    benchmark_id: str
    warnings: list[str] = []
    """What is odd, but no error: parameters that are not declared."""


class BenchmarkRecord(Value):
    """One benchmark; `data` is there together with COMPLETED."""

    benchmark_id: str
    algorithm_id: str
    additional_parameters: dict[str, Any]
    status: Status
    time_started: Time | None
    time_completed: TimeOrEmpty = ""
    log: str = ""
    data: dict[str, Any] = {}
    """What it has found; there once `status` is COMPLETED."""
    # Ours.
    time_submitted: TimeOrEmpty = ""
    waiting: Waiting | None = None
    algorithm_minor_version: str | None = None
    progress: float = 0.0
    project: str = "default"
    attempt: int = 0
    worker_id: str | None = None
    resolved_execution_device: str | None = None
    run_seconds: float | None = None
    error: RunError | None = None
    submitted_by: Submitter = None
