"""Objects of `audit-store`: many entries in one, in the order of time by key, the newest first.

    batches/<newest>-<oldest>-<entries>-<digest>

`newest` and `oldest` are the times of such entries in it, in microseconds, counted down from FAR, so that a listing has
the newest first; `digest` is of the contents. An object is written once. All its entries are of one day (UTC): so who
looks for a moment need not look further than a day. Objects of an hour that is over are put together, and then those of
a day; the entries are the same, so whoever does it at the same time writes the same object. What is there twice
meanwhile counts once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from voxloom.models import AuditEntry

COLLECTION = "audit-store"
PREFIX = "batches/"
FULL = 2000
"""Entries of one object."""
LONG = 64 << 10
"""Bytes."""
HOUR, DAY = 3_600_000_000, 86_400_000_000
"""In microseconds."""
LATE = 600_000_000
"""How long after the end of an hour or a day entries of it may still be on their way."""
FAR = 10**16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Place = tuple[int, str]
"""Where an entry stands: its time in microseconds, and its id."""


class Batch(NamedTuple):
    key: str
    newest: int
    oldest: int
    entries: int


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def place_of(entry: AuditEntry) -> Place:
    return micros(datetime.fromisoformat(entry.time)), entry.entry_id


def key_from(moment: int) -> str:
    """Before the keys of all objects that have nothing newer than this, and after those of all others."""
    return f"{PREFIX}{FAR - moment - 1:016d}~"


def batch_of(key: str) -> Batch | None:
    """None for what is none of ours."""
    parts = key.removeprefix(PREFIX).split("-")
    if len(parts) != 4 or not all(one.isdecimal() for one in parts[:3]):
        return None
    return Batch(key, FAR - int(parts[0]), FAR - int(parts[1]), int(parts[2]))


def united(entries: Iterable[AuditEntry]) -> list[AuditEntry]:
    """Each once, the oldest first. Of one that has ended, the begin is not needed any more."""
    found: dict[Place, AuditEntry] = {}
    for entry in entries:
        place = place_of(entry)
        if place not in found or found[place].outcome == "begun":
            found[place] = entry
    return [found[place] for place in sorted(found)]


def packed(entries: Iterable[AuditEntry]) -> Iterator[tuple[str, bytes]]:
    """The objects that these make, by their keys."""
    of_day: dict[int, list[AuditEntry]] = defaultdict(list)
    for entry in united(entries):
        of_day[place_of(entry)[0] // DAY].append(entry)
    for mine in of_day.values():
        for start in range(0, len(mine), FULL):
            some = mine[start : start + FULL]
            data = b"".join(one.model_dump_json(exclude_defaults=True).encode() + b"\n" for one in some)
            oldest, newest = place_of(some[0])[0], place_of(some[-1])[0]
            digest = hashlib.sha256(data).hexdigest()[:16]
            yield f"{PREFIX}{FAR - newest:016d}-{FAR - oldest:016d}-{len(some)}-{digest}", data


def unpacked(data: bytes) -> list[AuditEntry]:
    """Without what a newer version may have written, and this one cannot read."""
    found = []
    for line in data.splitlines():
        try:
            found.append(AuditEntry.model_validate_json(line))
        except ValidationError:
            continue
    return found


async def unpack(data: bytes) -> list[AuditEntry]:
    """The same; what is long is read in a thread."""
    return unpacked(data) if len(data) < LONG else await asyncio.to_thread(unpacked, data)


def to_unite(batches: Sequence[Batch], now: int) -> list[list[Batch]]:
    """Groups of objects that are to become few: those of a day that is over, else those of an hour that is over."""
    groups: dict[tuple[int, int], list[Batch]] = defaultdict(list)
    for batch in batches:
        for unit in (DAY, HOUR):
            if batch.newest // unit * unit + unit + LATE <= now:
                groups[unit, batch.newest // unit].append(batch)
                break
    return [group for group in groups.values() if len(group) > -(-sum(one.entries for one in group) // FULL)]
