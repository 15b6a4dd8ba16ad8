"""From what is kept of a run to what REST shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from messages.runs import Result, Work
from messages.trainings import Checkpoint
from shared.records.fold import RunState
from voxloom.models import (
    BenchmarkRecord,
    CheckpointRecord,
    ExecutionRecord,
    ExecutionSummary,
    RunError,
    Status,
    TrainingRecord,
    Waiting,
    format_time,
)


class Heard(NamedTuple):
    """What is known of a run beside its state: nothing of it is kept with that."""

    log: str | None = None
    """Where the caller has more of it than the record itself: a running attempt's, or a long one."""
    progress: float = 0.0
    """The newest of a run that has not ended."""
    told: Mapping[str, Any] = MappingProxyType({})
    """The newest that its algorithm has said of itself."""
    waiting: Waiting | None = None
    kept: bool = False
    expires_at: str | None = None


NOTHING = Heard()


def execution_record(state: RunState, heard: Heard = NOTHING) -> ExecutionRecord:
    """The record of a run whose request is known."""
    work, result = _work(state), _result(state)
    return ExecutionRecord(
        execution_id=state.run,
        input_dataset_ids=work.input_dataset_ids,
        execution_device_override=work.device_override,
        session_token=work.session_token,
        output_dataset_ids=result.outputs if result and state.status is Status.COMPLETED else [],
        time_completed=_completed(state) or "",
        **_of_any(state, heard),
        **_of_those_on_data(state, heard),
    )


def training_record(state: RunState, heard: Heard = NOTHING) -> TrainingRecord:
    """As `execution_record`, of a training."""
    work = _work(state)
    return TrainingRecord(
        training_id=state.run,
        training_data=work.sample_ids,
        tags=work.tags,
        output_checkpoint_ids=state.checkpoint_ids,
        time_completed=_completed(state),
        **_of_any(state, heard),
        **_of_those_on_data(state, heard),
    )


def benchmark_record(state: RunState, heard: Heard = NOTHING) -> BenchmarkRecord:
    """As `execution_record`, of a benchmark."""
    result = _result(state)
    return BenchmarkRecord(
        benchmark_id=state.run,
        data=result.data if result and state.status is Status.COMPLETED else {},
        time_completed=_completed(state) or "",
        **_of_any(state, heard),
    )


def _of_any(state: RunState, heard: Heard) -> dict[str, Any]:
    """What the records of all runs have, whatever their task."""
    work, stage, result = _work(state), state.stage, _result(state)
    return {
        "algorithm_id": work.algorithm.algorithm_id,
        "algorithm_minor_version": work.algorithm.minor,
        "additional_parameters": work.parameters,
        "status": state.status,
        "progress": shown_progress(state, heard.progress),
        "time_submitted": _text(state.submitted),
        "time_started": _started(state),
        "waiting": heard.waiting,
        "log": heard.log if heard.log is not None else (result.log if result else ""),
        "project": state.project,
        "submitted_by": state.submitted_by,
        "attempt": state.attempt,
        "worker_id": stage.worker_id if stage else None,
        "resolved_execution_device": stage.device if stage else None,
        "run_seconds": result.run_seconds if result else None,
        "error": result.error if result else None,
    }


def _of_those_on_data(state: RunState, heard: Heard) -> dict[str, Any]:
    """What records of executions and trainings have beside that."""
    work, stage, result = _work(state), state.stage, _result(state)
    return {
        "checkpoint_id": work.checkpoint_id,
        "algorithm_name": work.algorithm.name,
        "algorithm_major_version": work.algorithm.major,
        "resolved_parameters": work.arguments,
        "state": result.state if result else dict(heard.told),
        "execution_card": stage.card if stage else None,
        "queue_seconds": _seconds(state.submitted, state.began.time if state.began else None),
        "peak_memory_bytes": result.peak_memory_bytes if result else None,
        "stop_requested": state.stop_requested is not None,
        "kept": heard.kept,
        "expires_at": heard.expires_at,
    }


def _work(state: RunState) -> Work:
    assert state.work is not None
    return state.work


def _completed(state: RunState) -> str | None:
    return format_time(state.stage.time) if state.stage and state.ended else None


def checkpoint_record(checkpoint: Checkpoint) -> CheckpointRecord:
    return CheckpointRecord(
        checkpoint_id=checkpoint.checkpoint_id,
        training_id=checkpoint.training_id,
        parent_algorithm_id=checkpoint.algorithm_id,
        created_at=format_time(checkpoint.created_at),
        properties=checkpoint.properties,
        tags=checkpoint.tags,
        parent_checkpoint_id=checkpoint.parent_checkpoint_id,
        algorithm_name=checkpoint.algorithm_name,
        algorithm_major_version=checkpoint.algorithm_major_version,
        algorithm_minor_version=checkpoint.algorithm_minor_version,
        asset_paths=sorted(checkpoint.assets),
        project=checkpoint.project,
    )


def _result(state: RunState) -> Result | None:
    return state.stage.result if state.stage else None


def execution_summary(state: RunState, *, progress: float = 0.0) -> ExecutionSummary:
    """The row of a run in lists."""
    work = _work(state)
    return ExecutionSummary(
        execution_id=state.run,
        algorithm_id=work.algorithm.algorithm_id,
        algorithm_name=work.algorithm.name,
        algorithm_major_version=work.algorithm.major,
        algorithm_minor_version=work.algorithm.minor,
        status=state.status,
        progress=shown_progress(state, progress),
        time_started=_started(state),
        time_submitted=_text(state.submitted),
        time_completed=_completed(state) or "",
        project=state.project,
        attempt=state.attempt,
        task=work.task,
        error=short_error(state),
        submitted_by=state.submitted_by,
    )


LONGEST_SHOWN = 300
"""Characters of an error's message in a list."""


def short_error(state: RunState) -> RunError | None:
    """Why a run has failed, as lists have it."""
    error = state.stage.result.error if state.stage and state.stage.result else None
    if error is None:
        return None
    message = error.message
    shown = message if len(message) <= LONGEST_SHOWN else f"{message[:LONGEST_SHOWN]} …"
    return error.model_copy(update={"message": shown, "details": None})


def begun(state: RunState) -> datetime | None:
    """When the author's code of the newest attempt began; None where it has not."""
    return state.began.time if state.began is not None and state.status is not Status.PENDING else None


def _started(state: RunState) -> str | None:
    moment = begun(state)
    return None if moment is None else format_time(moment)


def shown_progress(state: RunState, heard: float) -> float:
    """How far a run is, from its state and the newest that was heard of it."""
    if state.status in (Status.COMPLETED, Status.FAILED):
        return 1.0
    result = state.stage.result if state.stage else None
    return max(heard, result.progress if result else 0.0)


def _text(moment: datetime | None) -> str:
    return "" if moment is None else format_time(moment)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())
