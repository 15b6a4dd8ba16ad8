"""Which run the code is in, for code that has no `self` at hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxloom.runner.handler import TaskHandler

current_handler: ContextVar[TaskHandler | None] = ContextVar("voxloom.current_handler", default=None)
"""The handler of the run under way. As context variables go, threads do not inherit it: a runner keeps its own."""

current_runner_context: ContextVar[Mapping[str, Any] | None] = ContextVar(
    "voxloom.current_runner_context", default=None
)
"""The attributes of the runner under way that belong to its run alone, live."""
