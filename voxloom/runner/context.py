"""Which run the code is in, for code that has no `self` at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from voxloom.runner.base import BaseRunner
    from voxloom.runner.handler import TaskHandler

current_handler: ContextVar[TaskHandler | None] = ContextVar("voxloom.current_handler", default=None)
"""The handler of the run under way. As context variables go, threads do not inherit it: a runner keeps its own."""

current_runner_context: ContextVar[RunContext | None] = ContextVar("voxloom.current_runner_context", default=None)
"""The attributes of the runner under way that belong to its run alone, live."""


class RunContext(dict[str, Any]):
    """The attributes of a runner that belong to its run alone. What is set in it is set on the runner, and what is set
    on the runner is in it. Those that `load_assets` has set are not; to set one raises AttributeError.

    Whoever keeps it after the run has what was in it at the end.
    """

    __slots__ = ("_runner",)

    def __init__(self, runner: BaseRunner) -> None:
        super().__init__()
        self._runner: BaseRunner | None = runner

    # --- for the runner ---

    def note(self, attributes: Mapping[str, Any]) -> None:
        """These have been set on the runner."""
        super().update(attributes)

    def drop(self, names: Iterable[str]) -> None:
        """These are not there any more, or are the process's."""
        for name in list(names):
            super().pop(name, None)

    def detach(self) -> None:
        """The run is over: from now on a dict like any other."""
        self._runner = None

    # --- for everybody ---

    def __setitem__(self, name: str, value: Any) -> None:
        if self._runner is None:
            super().__setitem__(name, value)
        else:
            setattr(self._runner, name, value)

    def __delitem__(self, name: str) -> None:
        if self._runner is None or name not in self:
            super().__delitem__(name)
        else:
            delattr(self._runner, name)

    # These go through the two above; dict's own would not.
    clear = MutableMapping.clear
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    update = MutableMapping.update

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        """Elsewhere there is no runner."""
        return dict, (dict(self),)
