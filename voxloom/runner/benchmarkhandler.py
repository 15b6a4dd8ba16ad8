"""What authors see as `self.task_handler` in a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxloom.runner.handler import Link, TaskHandler
from voxloom.runner.plain import plain_dict


class BenchmarkHandler(TaskHandler):
    """One benchmark, as its author sees it."""

    def __init__(self, link: Link, *others: Any, **more: Any) -> None:
        super().__init__(link, *others, **more)
        self._data: dict[str, Any] | None = None

    def mark_as_completed(self, data: Mapping[str, Any] | None = None) -> None:
        """Hands over what was found. Raises NotPlain, a ValueError, for what JSON has no form for."""
        self._data = found_data(data)
        self._mark("COMPLETED")

    def given_data(self) -> dict[str, Any]:
        """What the benchmark has come to. Raises what it was marked as failed with."""
        self.raise_failure()
        return self._data or {}


def found_data(data: Any) -> dict[str, Any]:
    return plain_dict(data or {}, "what benchmark returned")
