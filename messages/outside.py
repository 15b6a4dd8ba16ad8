"""What is said with those outside, on an exchange of their own: what they ask for, and what is refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, FailFast, Field

from messages.base import Event
from voxloom.models import RunError, Value
from voxloom.models.runs import dict_if_none

ASKED = "voxloom.execution.asked.v1"
"""The CloudEvents `type` of such a message. It is no event: it says what somebody wants, and not what has happened."""


class ExecutionAsked(Value):
    """The body of a message that asks for an execution: as in REST, but the algorithm may be named."""

    algorithm_id: str | None = None
    algorithm_name: str | None = None
    """With `algorithm_major_version`, in place of `algorithm_id`."""
    algorithm_major_version: str | None = None
    algorithm_minor_version: str | None = None
    """None: the latest."""
    input_dataset_ids: Annotated[list[str], FailFast()]
    """Ids of files; may be empty."""
    checkpoint_id: str | None = None
    execution_device_override: str | None = None
    additional_parameters: Annotated[dict[str, Any], BeforeValidator(dict_if_none)] = {}
    session_token: str | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class ExecutionRejected(Event):
    """Somebody outside has asked for this execution by a message, and it is not run. Said to those outside alone."""

    entities = ("execution",)
    verb = "rejected"
    message_id: str
    """Of the message that has asked."""
    error: RunError
