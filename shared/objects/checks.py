"""What collections, keys, metadata and tags may be. Every adapter asks here, so that none is laxer than another."""

from __future__ import annotations

from collections.abc import Mapping

from shared.objects.base import COLLECTIONS, EXPIRING
from voxloom.errors import InvalidInput

LONGEST_KEY = 900
"""Bytes of UTF-8."""

LARGEST_METADATA = 2048
MOST_TAGS = 10
LONGEST_TAG_NAME = 128
LONGEST_TAG = 256

_COLLECTIONS = frozenset(COLLECTIONS)


def checked_collection(collection: str) -> str:
    if collection not in _COLLECTIONS:
        raise InvalidInput(f"There is no collection {collection!r}; it must be one of {', '.join(COLLECTIONS)}.")
    return collection


def checked_key(key: str) -> bytes:
    """The key as UTF-8: what its order and its length are counted in."""
    encoded = _utf8(key, "key")
    if not encoded:
        raise InvalidInput("The key is empty; give the object a name.")
    if len(encoded) > LONGEST_KEY:
        raise InvalidInput(f"The key has {len(encoded)} bytes; make it {LONGEST_KEY} at most.")
    return encoded


def checked_bound(text: str, what: str) -> bytes:
    """A prefix or the key to go on after: like a key, but it may be empty."""
    return checked_key(text) if text else _utf8(text, what)


def checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Raises InvalidInput unless it is short, printable ASCII."""
    given = dict(metadata or {})
    for name, value in given.items():
        if not name or not _is_plain(name) or not _is_plain(value):
            raise InvalidInput(f"The metadata {name!r} is not printable ASCII; use plain letters and digits.")
    if sum(len(name) + len(value) for name, value in given.items()) > LARGEST_METADATA:
        raise InvalidInput(f"The metadata is too long; keep it within {LARGEST_METADATA} characters.")
    return given


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(tags or {})
    if len(given) > MOST_TAGS:
        raise InvalidInput(f"An object has {MOST_TAGS} tags at most; {len(given)} were given.")
    for name, value in given.items():
        _utf8(name + value, "tag")
        if not 0 < len(name) <= LONGEST_TAG_NAME or len(value) > LONGEST_TAG:
            raise InvalidInput(
                f"The tag {name[:40]!r} is too long or has no name; names have 1 to {LONGEST_TAG_NAME} characters "
                f"and values {LONGEST_TAG} at most."
            )
    return given


def is_expiring(tags: Mapping[str, str]) -> bool:
    return all(tags.get(name) == value for name, value in EXPIRING.items())


def checked_range(start: int, stop: int | None, size: int) -> range:
    """The bytes of an object of `size` that a stream from `start` to `stop` gives; empty when there are none."""
    if start < 0 or (stop is not None and stop < 0):
        raise InvalidInput("A range counts from the object's first byte; give no negative number.")
    end = size if stop is None else min(stop, size)
    return range(min(start, end), end)


def _utf8(text: str, what: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"The {what} is not valid Unicode; send it as UTF-8.") from None
    if b"\0" in encoded:
        raise InvalidInput(f"The {what} has a NUL character in it; leave it out.")
    return encoded


def _is_plain(text: str) -> bool:
    return text.isascii() and (not text or text.isprintable())
