"""What every server says: of itself, and of what went wrong."""

from __future__ import annotations

from typing import Any

from voxloom.values import Value


class ResponseMessage(Value):
    detail: str | None = None


class RootMessage(Value):
    name: str
    tags: list[str]
    group: str
    organization: str
    domain: str
    version: str
    cuda_available: bool | None = None
    """Of the live workers; None if there is none."""
    cuda_capable_devices_count: int | None = None


class Problem(Value):
    """Every error body: RFC 9457, with `code` and `retryable` beside it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = False
    details: dict[str, Any] | None = None
