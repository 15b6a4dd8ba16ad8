"""What records, requests, events and frames are made of.

Runner processes import this and not the models of REST: to make those takes a third of the start of a process.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer


def utc_now() -> datetime:
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """ISO 8601 in UTC with six digits and `+00:00`: what every Python since 3.7 parses."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _comparable(moment: datetime) -> datetime:
    """What says no zone means UTC: with and without one, times cannot be compared."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is beyond the calendar") from error


Moment = Annotated[
    datetime, AfterValidator(_comparable), PlainSerializer(format_time, return_type=str, when_used="json")
]
"""A time in UTC, written as `2026-11-21T02:57:03.580050+00:00`."""


class Value(BaseModel):
    """A frozen value that tolerates fields it does not know, so that versions can mix."""

    model_config = ConfigDict(frozen=True, extra="ignore")


RunStatus = Literal["PENDING", "STARTED", "RUNNING", "COMPLETED", "FAILED", "STOPPED"]
"""Those of voxloom.models.Status."""


class RunError(Value):
    """Why a run failed. `type` is the exception's class name, `code` one of docs/errors.md."""

    type: str
    message: str
    code: str
    retryable: bool = False
    details: dict[str, Any] | None = None
    """What the exception says for programs, where it says so."""
