"""Deleting many objects in few calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from shared.objects.cloud.connection import Connection
from shared.objects.cloud.errors import climbs
from shared.objects.cloud.place import Spot
from voxloom.errors import NotFound, StoreUnavailable

_AT_ONCE = 1000
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


async def delete(connection: Connection, spots: Sequence[Spot]) -> None:
    """All of one bucket. What is not there is deleted already."""
    together = [spot for spot in spots if is_plain(spot.s3_key)] if len(spots) > 1 else []
    for first in range(0, len(together), _AT_ONCE):
        await _delete_together(connection, together[first : first + _AT_ONCE])
    for spot in sorted(set(spots) - set(together)):
        with suppress(NotFound):
            await connection.call("delete_object", spot)


def is_plain(key: str) -> bool:
    """Whether it can go with others. They are sent as XML, which cannot say every character: servers refuse all then.
    And of those that one server takes and another does not, each has to be told for itself."""
    return _NOT_IN_XML.search(key) is None and not climbs(key)


async def _delete_together(connection: Connection, spots: Sequence[Spot]) -> None:
    keys = [{"Key": spot.s3_key} for spot in spots]
    bucket = Spot(spots[0].bucket, collection=spots[0].collection)
    answer = await connection.call("delete_objects", bucket, Delete={"Objects": keys, "Quiet": True})
    for error in answer.get("Errors", []):
        raise StoreUnavailable(f"The object store did not delete an object ({error.get('Code')}); try again.")
