"""What S3 answers about an object, as callers see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from shared.objects.base import ObjectInfo
from shared.objects.cloud.place import Spot
from voxloom.digests import is_digest

MARK = "voxloom-write"
"""The metadata that names one write, so that it can be told from another's; callers do not see it."""
DIGEST = "digest"
"""What an object's digest is called: in the metadata of one that is written in one piece, and in a tag of one that came
in parts, whose digest is not known before its last byte. Callers see `ObjectInfo.digest` only."""


def from_head(spot: Spot, answer: Mapping[str, Any]) -> ObjectInfo:
    given = answer.get("Metadata", {})
    metadata = {name: value for name, value in given.items() if name not in (MARK, DIGEST)}
    etag, digest = bare(answer["ETag"]), given.get(DIGEST, "")
    return ObjectInfo(
        spot.key, answer["ContentLength"], etag, answer["LastModified"], metadata, digest if is_digest(digest) else None
    )


def from_listing(item: Mapping[str, Any], prefix: str) -> ObjectInfo:
    return ObjectInfo(item["Key"].removeprefix(prefix), item["Size"], bare(item["ETag"]), item["LastModified"])


def from_write(
    spot: Spot, answer: Mapping[str, Any], size: int, metadata: Mapping[str, str], digest: str
) -> ObjectInfo:
    """Of an object that was written just now, by the server's clock."""
    return ObjectInfo(spot.key, size, bare(answer["ETag"]), _date(answer), dict(metadata), digest)


def bare(etag: str) -> str:
    return etag.strip('"')


def quoted(etag: str) -> str:
    return f'"{etag}"'


def _date(answer: Mapping[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
