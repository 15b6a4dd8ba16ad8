"""Sessions of botocore that begin quickly: each would look at the signatures of some hundred functions of its own."""

from __future__ import annotations

import copy
from typing import Any

from botocore.session import Session

_USUAL = Session._register_builtin_handlers
_FIRST: dict[type, Any] = {}
"""What the first session of a kind has registered."""


def install() -> None:
    Session._register_builtin_handlers = _register


def _register(session: Any, events: Any) -> None:
    kind = type(session._original_handler)
    if kind not in _FIRST:
        _USUAL(session, events)
        _FIRST[kind] = copy.copy(session._original_handler)
    session._original_handler.__dict__.update(copy.copy(_FIRST[kind]).__dict__)
