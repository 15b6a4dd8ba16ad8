"""Whether the store's clock and ours agree. Where they do not, signatures fail, URLs expire early, and records say
things that are not so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from voxloom.errors import StoreUnavailable

CLOCKS_APART_SECS = 60.0
"""What two clocks may differ by."""


def check_clocks(date: str, now: datetime, server: str) -> None:
    """`date` is an answer's header (RFC 9110, section 6.6.1). Raises StoreUnavailable: clocks are set right in time."""
    if (gap := _gap(date, now)) is not None:
        raise _apart(gap, server)


def wrong_clock(date: str, now: datetime, server: str) -> StoreUnavailable:
    """What to tell when the store itself has refused our time."""
    if (gap := _gap(date, now)) is not None:
        return _apart(gap, server)
    return StoreUnavailable(
        f"The object store at {server} finds the clock of this machine wrong; let it follow a time server (NTP)."
    )


def _gap(date: str, now: datetime) -> timedelta | None:
    """How far the store is ahead; None: not so far that it matters, or it does not tell the time."""
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None
    # A zone of "-0000" says that it is not known: HTTP has none but GMT.
    gap = (told if told.tzinfo else told.replace(tzinfo=UTC)) - now
    return gap if abs(gap.total_seconds()) > CLOCKS_APART_SECS else None


def _apart(gap: timedelta, server: str) -> StoreUnavailable:
    way = "ahead of" if gap > timedelta(0) else "behind"
    return StoreUnavailable(
        f"The clock of the object store at {server} is {timedelta(seconds=round(abs(gap.total_seconds())))} {way} that "
        "of this machine; let both follow a time server (NTP)."
    )
