"""Looking at every byte of every object: what that finds, and how it is decided. The stores' own parts are in
embedded/scrub.py and cloud/scrub.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from voxloom.digests import is_digest, named

CONTENTS = "asset-store"
"""Where objects are named by their SHA-256."""


class State(StrEnum):
    FINE = "fine"
    DAMAGED = "damaged"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNKNOWN = "no digest"
    GIVEN = "given a digest"

    @property
    def is_loss(self) -> bool:
        return self in (State.DAMAGED, State.MISSING, State.UNREADABLE)


@dataclass(frozen=True)
class Scrubbed:
    """One object, or the index of them all, where `key` is empty."""

    collection: str
    key: str
    size: int
    state: State
    detail: str = ""
    etag: str = ""
    digest: str | None = None
    """That of the bytes as they are, where it was computed."""


def expected(collection: str, key: str, digest: str | None) -> str | None:
    """What an object's bytes must have. Names tell it, too."""
    if digest is not None:
        return digest
    named_so = named(key)
    return named_so if collection == CONTENTS and is_digest(named_so) else None


def judge(wanted: str | None, found: str) -> State:
    if wanted is None:
        return State.UNKNOWN
    return State.FINE if found == wanted else State.DAMAGED
