"""Moments as records have them."""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

_DATE_TIME = {"type": "string", "format": "date-time"}
Time = Annotated[str, WithJsonSchema(_DATE_TIME)]
"""As `format_time` writes it."""
TimeOrEmpty = Annotated[str, WithJsonSchema({"anyOf": [_DATE_TIME, {"type": "string", "maxLength": 0}]})]
"""The same, or "" where it has not come yet."""
