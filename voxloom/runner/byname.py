"""Steps of the base classes, as derived classes may call them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def by_name(step: F) -> F:
    """Lets all be given by name, and `args`, the last, be left out: `super().preprocess(input_data, args=args)`.

    For type checkers they stay positional and needed, so that a derived class may name its own as it likes."""
    declared = inspect.signature(step)
    parameters = [one.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in declared.parameters.values()]
    parameters[-1] = parameters[-1].replace(default=None)
    lenient = declared.replace(parameters=parameters)

    @functools.wraps(step)
    def call(*given: Any, **named: Any) -> Any:
        bound = lenient.bind(*given, **named)
        bound.apply_defaults()
        return step(*bound.args)

    call.__signature__ = lenient  # type: ignore[attr-defined]  # inspect looks for it
    return call  # type: ignore[return-value]
