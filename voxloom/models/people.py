"""Who has asked for things, as records have it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field


def _is_none(value: object) -> bool:
    return value is None


Submitter = Annotated[
    str | None,
    Field(
        exclude_if=_is_none,
        description="The principal who has asked for it; not there on /api/v0, nor where nobody was asked.",
    ),
]
