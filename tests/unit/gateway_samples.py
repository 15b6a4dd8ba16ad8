"""Events of runs, as the other services would say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from messages.runs import (
    AlgorithmPin,
    Result,
    RunAssigned,
    RunCompleted,
    RunRequested,
    RunStarted,
    Work,
)
from voxloom.ids import new_id

START = datetime(2026, 11, 21, tzinfo=UTC)


def work(**changes: Any) -> Work:
    pin = AlgorithmPin(
        algorithm_id=changes.pop("algorithm_id", "alg-1"),
        name=changes.pop("name", "Denoise"),
        major=changes.pop("major", "1"),
        minor="0",
        module="m",
        assets="a",
    )
    given: dict[str, Any] = {
        "algorithm": pin,
        "input_dataset_ids": [],
        "parameters": {},
        "args": {},
        "devices": ["cpu"],
        "session_token": "s",
    }
    return Work(**{**given, **changes})


def requested(run: str = "", *, second: float = 0, **changes: Any) -> RunRequested:
    return RunRequested(subject=run or new_id(), work=work(**changes), time=START + timedelta(seconds=second))


def assigned(run: str, attempt: int = 1, epoch: int = 1) -> RunAssigned:
    return RunAssigned(
        subject=run,
        attempt=attempt,
        epoch=epoch,
        worker_id="w",
        incarnation=f"i{attempt}",
        device_class="cpu",
        work=work(),
    )


def started(run: str, attempt: int = 1, epoch: int = 1) -> RunStarted:
    return RunStarted(
        subject=run,
        attempt=attempt,
        epoch=epoch,
        worker_id="w",
        incarnation=f"i{attempt}",
        device_class="cpu",
        device="cpu",
    )


def completed(run: str, attempt: int = 1, epoch: int = 1, *, second: float = 1, **result: Any) -> RunCompleted:
    return RunCompleted(
        subject=run,
        attempt=attempt,
        epoch=epoch,
        worker_id="w",
        time=START + timedelta(seconds=second),
        result=Result(**{"device": "cpu", **result}),
    )
