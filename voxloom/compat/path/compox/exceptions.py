"""Compox's exceptions: those that the runner API raises are Voxloom's own, the others are for authors to raise."""

from __future__ import annotations

from voxloom.errors import NotFound, VoxloomError
from voxloom.runner.exceptions import AssetNotFound, CheckpointError, StateError, TaskStoppedException, TrainingError

CompoxError = VoxloomError
CompoxNotFoundError = NotFound
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


class CompoxServerError(VoxloomError):
    code = "server_error"


class CompoxValidationError(VoxloomError):
    code = "validation_error"


class CompoxConflictError(VoxloomError):
    code = "conflict_error"


class CompoxConfigurationError(VoxloomError):
    code = "configuration_error"


class CompoxDomainError(VoxloomError):
    code = "domain_error"


class CompoxTaskError(VoxloomError):
    code = "task_error"


class CompoxAlgorithmError(VoxloomError):
    code = "algorithm_error"


class CompoxDeploymentError(VoxloomError):
    code = "deployment_error"


class CompoxFileError(VoxloomError):
    code = "file_error"


class CompoxImportError(VoxloomError):
    code = "import_error"


class CompoxBundleError(VoxloomError):
    code = "bundle_error"


class CompoxExecutionError(VoxloomError):
    code = "execution_error"


class CompoxStorageError(VoxloomError):
    code = "storage_error"
