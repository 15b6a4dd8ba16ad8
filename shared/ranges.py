"""Conditional and partial GETs (RFC 9110, sections 13 and 14), as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Whole:
    """200"""


@dataclass(frozen=True)
class Part:
    """206: the bytes from `start` up to but without `stop`."""

    start: int
    stop: int


@dataclass(frozen=True)
class NotModified:
    """304"""


@dataclass(frozen=True)
class Unsatisfiable:
    """416"""


Selection = Whole | Part | NotModified | Unsatisfiable


def select(headers: Mapping[str, str], size: int, etag: str | None) -> Selection:
    """What to send of `size` bytes. `etag` is without quotes; None where the bytes may still change."""
    wanted = headers.get("If-None-Match")
    if wanted is not None and etag is not None and _names(wanted, etag):
        return NotModified()
    text = headers.get("Range")
    if text is None or not _range_holds(headers.get("If-Range"), etag):
        return Whole()
    return _part(text, size)


def _names(wanted: str, etag: str) -> bool:
    tags = (tag.strip().removeprefix("W/") for tag in wanted.split(","))
    return any(tag in ("*", f'"{etag}"') for tag in tags)


def _range_holds(condition: str | None, etag: str | None) -> bool:
    return condition is None or (etag is not None and condition.strip() == f'"{etag}"')


def _part(text: str, size: int) -> Selection:
    """A range that is malformed or has several parts may be ignored, and is."""
    match = _RANGE.fullmatch(text)
    if match is None or match.groups() == ("", ""):
        return Whole()
    first, last = match.groups()
    if not first:
        count = min(int(last), size)
        return Part(size - count, size) if count else Unsatisfiable()
    start = int(first)
    if last and int(last) < start:
        return Whole()
    if start >= size:
        return Unsatisfiable()
    return Part(start, min(int(last) + 1, size) if last else size)
