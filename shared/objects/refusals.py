"""What callers are told about an object that is not there, or not as they expect it: the same by every adapter."""

from __future__ import annotations

from voxloom.errors import Conflict, Damaged, InvalidInput, NotFound, TooLarge


def not_found(collection: str, key: str) -> NotFound:
    return NotFound(f"There is no object {key!r} in {collection}.", code="object_not_found")


def not_written(collection: str, key: str, why: str) -> Conflict:
    return Conflict(
        f"The object {key!r} in {collection} was not written: {why}. Read it again and decide anew.",
        code="precondition_failed",
    )


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"The object has more than the {limit} bytes allowed; send a smaller one.")


def digest_mismatch() -> InvalidInput:
    return InvalidInput(
        "The bytes that came do not have the digest that came with them, so nothing was kept. Send them again.",
        code="digest_mismatch",
        http_status=400,
    )


def damaged(collection: str, key: str) -> Damaged:
    return Damaged(
        f"The object {key!r} in {collection} is damaged: its bytes are not those that were stored. Look at the disk, "
        "run `voxloom doctor --scrub`, and restore the object from a backup or store it again.",
        details={"collection": collection, "key": key},
    )
