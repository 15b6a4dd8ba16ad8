"""What S3 answers about an object, as callers see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from shared.objects.base import ObjectInfo
from shared.objects.cloud.place import Spot

MARK = "voxloom-write"
"""The metadata that names one write, so that it can be told from another's; callers do not see it."""


def from_head(spot: Spot, answer: Mapping[str, Any]) -> ObjectInfo:
    metadata = {name: value for name, value in answer.get("Metadata", {}).items() if name != MARK}
    return ObjectInfo(spot.key, answer["ContentLength"], bare(answer["ETag"]), answer["LastModified"], metadata)


def from_listing(item: Mapping[str, Any], prefix: str) -> ObjectInfo:
    return ObjectInfo(item["Key"].removeprefix(prefix), item["Size"], bare(item["ETag"]), item["LastModified"])


def from_write(spot: Spot, answer: Mapping[str, Any], size: int, metadata: Mapping[str, str]) -> ObjectInfo:
    """Of an object that was written just now, by the server's clock."""
    return ObjectInfo(spot.key, size, bare(answer["ETag"]), _date(answer), dict(metadata))


def bare(etag: str) -> str:
    return etag.strip('"')


def quoted(etag: str) -> str:
    return f'"{etag}"'


def _date(answer: Mapping[str, Any]) -> datetime:
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
