"""Identifiers: version-1-shaped UUIDs that tell their age and nothing about the machine."""

from __future__ import annotations

import os
import re
import struct
import time
import uuid
from collections import deque

# 100 ns steps between the start of the Gregorian calendar and 1970-01-01 (RFC 9562, section 5.1).
_GREGORIAN_TO_UNIX_TICKS = 0x01B21DD213814000
_VARIANT = 1 << 63  # the two bits `10` (RFC 9562, section 4.1)
_MULTICAST_BIT = 1 << 40  # marks a node id that is no network card's (RFC 9562, section 6.10)


_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_AHEAD = struct.Struct("512Q")
_chance: deque[int] = deque()
"""Random numbers drawn ahead: asking the system for each one costs more than all else here."""
os.register_at_fork(after_in_child=_chance.clear)


def _draw() -> int:
    """64 random bits, never given out twice, also with threads and after a fork."""
    while True:
        try:
            return _chance.pop()
        except IndexError:
            _chance.extend(_AHEAD.unpack(os.urandom(_AHEAD.size)))


def new_id() -> str:
    """A new identifier: the time of its making, and 61 random bits where a MAC address would be."""
    ticks = time.time_ns() // 100 + _GREGORIAN_TO_UNIX_TICKS
    number = (ticks & 0xFFFFFFFF) << 96 | (ticks >> 32 & 0xFFFF) << 80 | (ticks >> 48 & 0x0FFF | 0x1000) << 64
    text = f"{number | _VARIANT | _draw() >> 2 | _MULTICAST_BIT:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its canonical form. Every event of a run is asked this, so no UUID is made for it."""
    return _CANONICAL.fullmatch(text) is not None


def age_of(identifier: str, *, now: float | None = None) -> float | None:
    """Seconds since `identifier` was made; None if it is no identifier of ours."""
    try:
        parsed = uuid.UUID(identifier)
    except ValueError:
        return None
    if parsed.version != 1:
        return None
    made = (parsed.time - _GREGORIAN_TO_UNIX_TICKS) / 1e7
    return (time.time() if now is None else now) - made
