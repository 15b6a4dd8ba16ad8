"""Expiry: rules of the buckets' own, beside those that others have set."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from shared.objects.base import EXPIRING
from shared.objects.cloud.connection import Connection
from shared.objects.cloud.errors import code_behind
from shared.objects.cloud.place import Spot
from voxloom.errors import StoreUnavailable, VoxloomError

Rule = dict[str, Any]

UNFINISHED_DAYS = 7
"""After so long, what a crash has left of an upload goes."""

_TRIES = 6


def rules_for(collection: str, prefix: str, days: float | None) -> list[Rule]:
    """Whole days are all that S3 knows."""
    rules = [_unfinished(collection, prefix)]
    if days is not None:
        rules.append(_expiry(collection, prefix, max(1, math.ceil(days))))
    return rules


def merged(present: Sequence[Rule], collection: str, prefix: str, wanted: Sequence[Rule]) -> list[Rule] | None:
    """All rules as they shall be; None: they are so already."""
    ours = {_unfinished_id(collection, prefix), _expiry_id(collection, prefix)}
    before = [rule for rule in present if rule.get("ID") in ours]
    if sorted(map(_gist, before)) == sorted(map(_gist, wanted)):
        return None
    return [rule for rule in present if rule.get("ID") not in ours] + list(wanted)


async def set_expiry(connection: Connection, collection: str, days: float | None) -> None:
    """Others may write the same bucket's rules at the same time, and S3 has no condition for that: so it is looked
    whether ours have stayed. Those who share this connection take turns."""
    async with connection.changing_rules:
        await _set_expiry(connection, collection, days)


async def _set_expiry(connection: Connection, collection: str, days: float | None) -> None:
    place = connection.place
    spot, prefix = Spot(place.bucket(collection), collection=collection), place.prefix(collection)
    wanted = rules_for(collection, prefix, days)
    for attempt in range(_TRIES):
        if attempt > 1:  # Before they are loaded: old ones that are saved undo what others have done meanwhile.
            await asyncio.sleep(random.uniform(0, 0.2) * 2**attempt)  # noqa: S311
        rules = merged(await _load(connection, spot), collection, prefix, wanted)
        if rules is None:
            return
        await _save(connection, spot, rules)
    raise StoreUnavailable(f"Others keep changing the expiry of {collection}; try again.")


async def _load(connection: Connection, spot: Spot) -> list[Rule]:
    try:
        answer = await connection.call("get_bucket_lifecycle_configuration", spot)
    except VoxloomError as error:
        if code_behind(error) == "NoSuchLifecycleConfiguration":
            return []
        raise
    rules: list[Rule] = answer.get("Rules", [])
    return rules


async def _save(connection: Connection, spot: Spot, rules: Sequence[Rule]) -> None:
    if rules:
        await connection.call("put_bucket_lifecycle_configuration", spot, LifecycleConfiguration={"Rules": list(rules)})
    else:
        await connection.call("delete_bucket_lifecycle", spot)


def _expiry_id(collection: str, prefix: str) -> str:
    return f"voxloom-expiry-{prefix or collection}"


def _unfinished_id(collection: str, prefix: str) -> str:
    return f"voxloom-unfinished-{prefix or collection}"


def _expiry(collection: str, prefix: str, days: int) -> Rule:
    tags = [{"Key": name, "Value": value} for name, value in EXPIRING.items()]
    only = {"And": {"Prefix": prefix, "Tags": tags}} if prefix else {"Tag": tags[0]}
    return {
        "ID": _expiry_id(collection, prefix),
        "Status": "Enabled",
        "Filter": only,
        "Expiration": {"Days": days},
    }


def _unfinished(collection: str, prefix: str) -> Rule:
    return {
        "ID": _unfinished_id(collection, prefix),
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
    }


def _gist(rule: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """What makes the difference between two rules of ours, however a server writes them."""
    days = rule.get("Expiration", {}).get("Days", 0)
    unfinished = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", 0)
    return str(rule.get("ID")), str(rule.get("Status")), int(days), int(unfinished)
