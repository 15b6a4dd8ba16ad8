"""Compox's exceptions: those that the runner API raises are Voxloom's own, the others are for authors to raise."""

from __future__ import annotations

from typing import Any

from voxloom.errors import Conflict, NotFound, VoxloomError
from voxloom.runner.details import json_safe
from voxloom.runner.exceptions import (
    AssetError,
    CheckpointError,
    DomainError,
    RunnerError,
    StateError,
    StorageError,
    TaskStoppedException,
    TrainingError,
)

CompoxError = CompoxConfiguredError = VoxloomError
CompoxConflictError = Conflict
CompoxNotFoundError = NotFound
CompoxServerError = RunnerError
CompoxDomainError = DomainError
CompoxStorageError = StorageError
CompoxAssetError = AssetError
CompoxCheckpointError = CheckpointError
CompoxStateError = StateError
CompoxTrainingError = TrainingError

__all__ = [
    "CompoxAssetError",
    "CompoxCheckpointError",
    "CompoxError",
    "CompoxNotFoundError",
    "CompoxStateError",
    "CompoxTrainingError",
    "TaskStoppedException",
    "CompoxClientError",
    "CompoxConfiguredError",
    "error_failure_payload",
    "error_metadata",
    "CompoxServerError",
    "CompoxValidationError",
    "CompoxConflictError",
    "CompoxConfigurationError",
    "CompoxDomainError",
    "CompoxTaskError",
    "CompoxAlgorithmError",
    "CompoxDeploymentError",
    "CompoxFileError",
    "CompoxImportError",
    "CompoxBundleError",
    "CompoxExecutionError",
    "CompoxStorageError",
]


class CompoxClientError(VoxloomError):
    code = "client_error"
    http_status = 400


class CompoxValidationError(CompoxClientError):
    code = "validation_error"


class CompoxConfigurationError(CompoxServerError):
    code = "configuration_error"


class CompoxTaskError(CompoxDomainError):
    code = "task_error"


class CompoxAlgorithmError(CompoxDomainError):
    code = "algorithm_error"


class CompoxDeploymentError(CompoxDomainError):
    code = "deployment_error"


class CompoxFileError(CompoxDomainError):
    code = "file_error"


class CompoxImportError(CompoxDomainError):
    code = "import_error"


class CompoxBundleError(CompoxDomainError):
    code = "bundle_error"


class CompoxExecutionError(CompoxDomainError):
    code = "execution_error"


def error_failure_payload(exc: BaseException | str) -> dict[str, Any]:
    """What a record says of a failure: `type`, `message`, `code`; of an error of this tree also its `details`,
    `retryable` and `http_status`; and its cause."""
    if isinstance(exc, str):
        return {"type": "error", "message": exc, "code": "error"}
    kind = type(exc).__name__
    told: dict[str, Any] = {"type": kind, "message": str(exc), "code": getattr(exc, "code", kind)}
    cause = exc.__cause__
    if isinstance(exc, VoxloomError):
        told |= {"details": json_safe(exc.details), "retryable": exc.retryable, "http_status": exc.http_status}
        cause = exc.cause
    return told if cause is None else {**told, "cause": {"type": type(cause).__name__, "message": str(cause)}}


def error_metadata(exc: BaseException | str) -> dict[str, Any]:
    """The same under the names of the records that Compox keeps where its store fails. Here there are none such."""
    told = error_failure_payload(exc)
    return {
        "_emergency_storage_error": told["message"],
        "_emergency_storage_error_code": "storage_error" if isinstance(exc, str) else told["code"],
        "_emergency_storage_retryable": told.get("retryable", False),
    }
