"""Digests of objects that came in parts: in a tag, which can be written once the last byte is here.

A tag belongs to a key. So it says, too, of which version the digest is: `sha-256:<hex>/<etag>`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from shared.objects.checks import LONGEST_TAG, MOST_TAGS
from shared.objects.cloud.connection import Connection
from shared.objects.cloud.object_info import DIGEST
from shared.objects.cloud.place import Spot
from shared.outages import waiting
from voxloom.digests import is_digest
from voxloom.errors import VoxloomError

log = logging.getLogger("voxloom.objects")


async def note(connection: Connection, spot: Spot, etag: str, digest: str, tags: Mapping[str, str]) -> bool:
    """Whether the digest was noted beside the object's other tags. Without it the object is good, but not checked."""
    value = f"{digest}/{etag}"
    if len(tags) >= MOST_TAGS or len(value) > LONGEST_TAG:
        return False
    try:
        await put_tags(connection, spot, {**tags, DIGEST: value})
    except VoxloomError as error:
        log.warning(
            "the digest of %r in %s could not be noted: %s", spot.key, spot.collection, error, extra=waiting(error)
        )
        return False
    return True


UNTAGGED = "untagged"
"""In place of no tag at all: some servers answer 500 to an empty set, and to delete one is another permission."""


async def read_tags(connection: Connection, spot: Spot) -> dict[str, str]:
    """All of them, ours too."""
    answer = await connection.call("get_object_tagging", spot)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"] if tag["Key"] != UNTAGGED}


async def put_tags(connection: Connection, spot: Spot, tags: Mapping[str, str]) -> None:
    pairs = [{"Key": name, "Value": value} for name, value in (tags or {UNTAGGED: "yes"}).items()]
    await connection.call("put_object_tagging", spot, Tagging={"TagSet": pairs})


def noted(tags: Mapping[str, str], etag: str) -> str | None:
    """The digest of this version among an object's tags."""
    digest, _, of = tags.get(DIGEST, "").partition("/")
    return digest if of == etag and is_digest(digest) else None
