"""What the runner API raises at authors, beside pydantic's ValidationError and Python's own exceptions.

BaseException
└── TaskStoppedException      the run shall end; `except Exception` lets it pass
VoxloomError
└── RunnerError               the base of what follows with a mark (*): the classes that Compox has, too
    ├── DomainError
    │   └── RunMarkedFailed   the author's code has said so, without a reason
    └── StorageError
InvalidInput (a ValueError)
├── AssetError *
│   └── AssetNotFound         also a KeyError
├── FileUnknown *             also a KeyError: there is no such file, or it is not this run's
├── InvalidDataset            a file or a value that no dataset can be read from or written to
├── InvalidShape              also an AssertionError: shapes or counts that do not fit together
├── InvalidOutputs            what `postprocess` returned is no list of ids
├── WrongType                 also a TypeError and an AssertionError: what a step returned is of the wrong type
├── StateError *              it was called where it cannot work
│   ├── NoRun                 outside a run
│   ├── NoTraining            what only a training can do, outside one
│   └── NoSession             without a session
├── CheckpointError *         what is to be saved is no checkpoint
├── TrainingError *           what a training is about to do with its data cannot be done
├── NotTrainable              also a NotImplementedError: the algorithm has no `train`
└── NoBenchmark               likewise: it has no `benchmark`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from voxloom.errors import InvalidInput, VoxloomError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class TaskStoppedException(BaseException):
    """Raised once, out of the first call into the runner API after a stop. Later calls work again: clean up with
    `finally`, or save what is worth keeping in `except TaskStoppedException`, then let it go on."""

    code = "task_stopped"

    def __init__(self, message: str = "Task has been stopped.") -> None:
        super().__init__(message)
        self.message = message


class RunnerError(VoxloomError):
    """Of a run, never of a request: as HTTP would have it, the server's fault."""

    code = "server_error"
    http_status = 500


class DomainError(RunnerError):
    code = "domain_error"


class StorageError(RunnerError):
    code = "storage_error"


class FileUnknown(StorageError, InvalidInput, KeyError):
    code = "file_not_found"

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class AssetError(DomainError, InvalidInput):
    code = "asset_error"


class AssetNotFound(AssetError, KeyError):
    code = "asset_path_not_found"

    __str__ = Exception.__str__  # KeyError would show the message in quotes


class InvalidDataset(InvalidInput):
    code = "invalid_dataset"


class InvalidShape(InvalidInput, AssertionError):
    code = "invalid_shape"


class RunMarkedFailed(DomainError):
    code = "marked_as_failed"


class InvalidOutputs(InvalidInput, TypeError):
    code = "invalid_outputs"


class WrongType(InvalidInput, TypeError, AssertionError):
    code = "invalid_type"


class StateError(DomainError, InvalidInput):
    code = "state_error"


class NoRun(StateError):
    code = "task_handler_not_set"


class NoTraining(StateError):
    code = "training_handler_required"


class NoSession(StateError):
    code = "task_session_not_initialized"


class CheckpointError(DomainError, InvalidInput):
    code = "checkpoint_error"


class TrainingError(DomainError, InvalidInput):
    code = "training_error"


class NotTrainable(InvalidInput, NotImplementedError):
    code = "algorithm_not_trainable"


class NoBenchmark(InvalidInput, NotImplementedError):
    code = "algorithm_without_benchmark"


def kind_of(value: Any) -> str:
    """What an error calls a value of the wrong kind: `None`, `a dict`, `an int`, `a numpy array`."""
    if value is None:
        return "None"
    name = {"ndarray": "numpy array"}.get(type(value).__name__, type(value).__name__)
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def text_of(error: BaseException) -> str:
    """`str(error)`, but for pydantic's errors, which would tell in six lines, with values and an address, what one
    sentence and the notes say."""
    if not isinstance(error, ValidationError):
        return str(error)
    said = "; ".join(map(_fault, error.errors(include_url=False, include_context=False)))
    notes = ", ".join(getattr(error, "__notes__", ()))
    return f"{said} ({notes})" if notes else said


def _fault(fault: ErrorDetails) -> str:
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing" or (fault["type"] == "is_instance_of" and fault["input"] is None):
        return f"{place} is missing"
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return said if not place or said.startswith(place) else f"{place}: {said}"
