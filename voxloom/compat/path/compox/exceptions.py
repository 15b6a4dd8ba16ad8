"""Compox's exceptions: those that the runner API raises are Voxloom's own, the others are for authors to raise."""

from __future__ import annotations

from voxloom.errors import NotFound, VoxloomError
from voxloom.runner.exceptions import (
    AssetNotFound,
    CheckpointError,
    DomainError,
    RunnerError,
    StateError,
    StorageError,
    TaskStoppedException,
    TrainingError,
)

CompoxError = VoxloomError
CompoxNotFoundError = NotFound
CompoxServerError = RunnerError
CompoxDomainError = DomainError
CompoxStorageError = StorageError
CompoxAssetError = AssetNotFound
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


class CompoxConflictError(VoxloomError):
    code = "conflict"
    http_status = 409


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
