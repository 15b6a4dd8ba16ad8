"""Which run the code is in, for code that has no `self` at hand."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxloom.runner.handler import TaskHandler

current_handler: ContextVar[TaskHandler | None] = ContextVar("voxloom.current_handler", default=None)
"""The handler of the run under way. As context variables go, threads do not inherit it: a runner keeps its own."""
