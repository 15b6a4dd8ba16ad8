"""What a run's output files become in the caller's hands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voxloom import imagefiles
from voxloom.errors import InvalidInput, RunFailed
from voxloom.models import ExecutionRecord, TrainingRecord

LAST_LINES = 20


def sole_array(datasets: Mapping[str, Any]) -> tuple[str, imagefiles.Array] | None:
    """Name and array of a file that holds one array and nothing else."""
    if len(datasets) != 1:
        return None
    name, value = next(iter(datasets.items()))
    return (name, value) if isinstance(value, np.ndarray) else None


def write_sole(path: Path, datasets: imagefiles.Datasets) -> None:
    """The array of a file that holds one, with what is known of it, in the format that the path asks for. Raises
    InvalidInput for a file that holds more."""
    sole = sole_array(datasets)
    if sole is None:
        raise InvalidInput(f"{path} would hold one array, and the file has: {', '.join(datasets)}. Save it as .h5.")
    name, image = sole
    imagefiles.write_image(path, image, colour=is_colour(name, image), meta=datasets.metas.get(name))


def is_colour(name: str, image: imagefiles.Array) -> bool:
    return name == "image" and image.ndim == 3 and len(image) == 3


def unwrap(datasets: dict[str, Any]) -> Any:
    """The array itself where a file holds one and nothing else; the dict of its datasets otherwise."""
    sole = sole_array(datasets)
    return sole[1] if sole else datasets


class Stack:
    """Gathers outputs that come in any order, from any thread, into one array while they are alike."""

    def __init__(self, count: int) -> None:
        self.values: list[Any] = [None] * count
        """The outputs in order."""
        self._whole: imagefiles.Array | None = None
        self._alike = count > 0
        self._lock = threading.Lock()

    def put(self, index: int, value: Any) -> None:
        with self._lock:
            whole = self._whole_for(value)
        if whole is None:
            self.values[index] = value
        else:
            whole[index] = value
            self.values[index] = whole[index]

    def _whole_for(self, value: Any) -> imagefiles.Array | None:
        if not isinstance(value, np.ndarray):
            self._alike = False
            return None
        if self._whole is None and self._alike:
            self._whole = np.empty((len(self.values), *value.shape), value.dtype)
        if self._whole is None or (self._whole.shape[1:], self._whole.dtype) != (value.shape, value.dtype):
            self._alike = False
            return None
        return self._whole

    def result(self) -> Any:
        """One array along a new first axis; the list of the outputs where they are not alike."""
        return self._whole if self._alike else self.values


def failure_of(record: ExecutionRecord | TrainingRecord, log: str) -> RunFailed:
    """`record` has a terminal status that is not COMPLETED."""
    lines = log.splitlines()[-LAST_LINES:]
    name, identifier = _identity_of(record)
    return RunFailed(
        "\n".join([describe_end(record), *(f"    {line}" for line in lines)]),
        details={
            name: identifier,
            "status": str(record.status),
            "error": record.error.model_dump() if record.error else None,
            "last_log_lines": lines,
        },
    )


def describe_end(record: ExecutionRecord | TrainingRecord) -> str:
    """One sentence about a run that did not complete."""
    name, identifier = _identity_of(record)
    what = f"{'Run' if name == 'execution_id' else 'Training'} {identifier} is {record.status}"
    if record.error is None:
        return f"{what}."
    return f"{what}: {record.error.type}: {record.error.message.rstrip('.')}."


def _identity_of(record: ExecutionRecord | TrainingRecord) -> tuple[str, str]:
    if isinstance(record, TrainingRecord):
        return "training_id", record.training_id
    return "execution_id", record.execution_id


Progress = Callable[[int, int], None]
"""Told how many of how many are done; may be called from other threads, one after the other."""


class Tally:
    """Counts what is done, from any thread, and tells each number once and in order."""

    def __init__(self, tell: Progress | None, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def one_more(self) -> None:
        with self._lock:
            self._done += 1
            if self._tell is not None:
                self._tell(self._done, self._total)
