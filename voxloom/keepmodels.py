"""What is said of a thing that is kept, or let go."""

from __future__ import annotations

from voxloom.models import Time, Value


class KeepRecord(Value):
    """Whether something is kept, and what that is."""

    kept: bool
    """It does not expire."""
    expires_at: Time | None = None
    """Where it is not kept: it may be gone from then on. None: it stays."""
    record: bool = False
    """The record of a run is among it."""
    log: bool = False
    """So is its log."""
    file_count: int = 0
    """Files that are there now: the outputs of a run, or the file itself."""
    size_bytes: int = 0
    """Of these files."""
