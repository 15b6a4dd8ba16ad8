"""What is said of a request that is not as it must be: the same wherever that is found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voxloom.errors import InvalidInput

_NAMED = 10


def refused(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """`errors`: each with `loc`, the path to what is wrong, and `msg`, which goes on after it."""
    said = "; ".join(f"{_where(error['loc'])}: {error['msg']}" for error in errors[:_NAMED])
    return InvalidInput(
        f"The request is not as it must be: {said}. Correct it and send it again.",
        code="request_validation_error",
        details={"errors": list(errors)},
    )


def _where(loc: Sequence[Any]) -> str:
    return ".".join(str(part) for part in loc) or "the body"
