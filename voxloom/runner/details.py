"""What an author's exception says for programs, made fit for a record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

LARGEST_DETAILS = 16 << 10
"""Characters of JSON."""


def details_of(error: BaseException) -> dict[str, Any] | None:
    """The `details` that an exception carries, as JSON has them; None where there are none, or far too many."""
    details = getattr(error, "details", None)
    if not isinstance(details, Mapping) or not details:
        return None
    safe: dict[str, Any] = json_safe(details)
    return safe if len(json.dumps(safe)) <= LARGEST_DETAILS else None


def json_safe(value: Any) -> Any:
    """The value as JSON has it; of what has no form there, how Python would write it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_safe(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays know what they are in Python."""
    return json_safe(value.tolist()) if hasattr(value, "tolist") else repr(value)
