"""An object as the database has it, and as callers see it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

from shared.objects.base import ObjectInfo
from shared.objects.checks import checked_collection, checked_key, checked_metadata, checked_tags, is_expiring

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Address = tuple[str, bytes]
"""Collection and key."""


class Row(NamedTuple):
    """An object as the database has it: its bytes are `body`, or in `file`."""

    collection: str
    key: bytes
    size: int
    etag: str
    modified: int
    """Microseconds since 1970, as is `since`; the latter by the clock of expiry."""
    metadata: str
    tags: str
    since: int | None
    """From when its time to expire counts; None: it stays."""
    file: str | None = None
    body: bytes | None = None
    id: int | None = None
    """Of the row it was loaded from; None for one that is new or written whole."""
    digest: str | None = None
    """Of a file; bodies have theirs in the etag."""

    @property
    def address(self) -> Address:
        return self.collection, self.key


class Now(NamedTuple):
    """Microseconds since 1970, by the clock on the wall and by that of expiry."""

    wall: int
    expiry: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of an object before its bytes are."""

    address: Address
    metadata: str
    tags: str
    expiring: bool

    def row(
        self,
        now: Now,
        size: int,
        etag: str,
        *,
        file: str | None = None,
        body: bytes | None = None,
        digest: str | None = None,
    ) -> Row:
        since = now.expiry if self.expiring else None
        return Row(*self.address, size, etag, now.wall, self.metadata, self.tags, since, file, body, digest=digest)


def address_of(collection: str, key: str) -> Address:
    """Raises InvalidInput."""
    return checked_collection(collection), checked_key(key)


def draft(collection: str, key: str, metadata: Mapping[str, str] | None, tags: Mapping[str, str] | None) -> Draft:
    """Raises InvalidInput."""
    good = checked_tags(tags)
    return Draft(address_of(collection, key), as_text(checked_metadata(metadata)), as_text(good), is_expiring(good))


def etag_of(body: bytes) -> str:
    """What is kept in the database is named by its bytes, which shows whether they are still the same."""
    return hashlib.sha256(body).hexdigest()[:32]


def info_of(row: Row) -> ObjectInfo:
    modified = _EPOCH + timedelta(microseconds=row.modified)
    return ObjectInfo(row.key.decode(), row.size, row.etag, modified, from_text(row.metadata), row.digest)


def infos_of(rows: Sequence[Row]) -> list[ObjectInfo]:
    return [info_of(row) for row in rows]


def as_text(pairs: Mapping[str, str]) -> str:
    return orjson.dumps(pairs).decode() if pairs else "{}"


def from_text(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {} if text == "{}" else orjson.loads(text)
    return pairs
