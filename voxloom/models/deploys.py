"""Deploys of algorithms."""

from __future__ import annotations

from enum import StrEnum

from voxloom.models.people import Submitter
from voxloom.models.times import Time
from voxloom.values import RunError, Value


class DeployOverrides(Value):
    """What a deploy may change of the algorithm's own pyproject."""

    algorithm_name: str | None = None
    algorithm_major_version: str | None = None
    removable: bool | None = None
    exportable: bool | None = None


class DeployStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class DeployRecord(Value):
    deploy_id: str
    status: DeployStatus
    path: str
    algorithm_id: str | None = None
    algorithm_name: str | None = None
    algorithm_major_version: str | None = None
    algorithm_minor_version: str | None = None
    time_started: Time | None = None
    time_completed: Time | None = None
    log: str | None = None
    error: RunError | None = None
    """Why it failed."""
    warnings: list[str] = []
    """What is odd about the algorithm, but no error."""
    changed: bool | None = None
    """Whether it has added a minor version; None before its end."""
    project: str = "default"
    submitted_by: Submitter = None


class DeployResponse(Value):
    """The algorithm as it is stored now; the minor version is the stored one."""

    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str


class DeployBegun(Value):
    deploy_id: str
