"""How attempts end that failed in the worker, and not in the author's code."""

from __future__ import annotations

from messages.runs import Result, RunHandedOver
from voxloom.models import RunError
from voxloom.runner.limits import DISK_FULL, disk_full, is_disk_full


def internal(error: Exception) -> Result:
    if is_disk_full(error):
        why = disk_full(str(error))
        return Result(error=RunError(type=type(error).__name__, message=why, code=DISK_FULL, retryable=True))
    message = f"The worker could not do this run: {error}. Its log says more."
    return Result(error=RunError(type=type(error).__name__, message=message, code="worker_error", retryable=True))


def no_lane(assignment: RunHandedOver) -> Result:
    message = f"Worker {assignment.worker_id} has no device of class {assignment.device_class}."
    return Result(error=RunError(type="NoDevice", message=message, code="no_device", retryable=True))
