"""What server-sent events are called, for clients to resume from: the place of an event in the stream.

The stream has the events of all projects, so that its numbers tell how much the others do. Where the server asks who
people are, they are enciphered: a Feistel network of four rounds (Luby and Rackoff, 1988) over 64 bits, with keyed
BLAKE2s as its function. All gateways have the key from the store.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from contextlib import suppress

from shared.control.store import COLLECTION
from shared.objects.base import ABSENT, ObjectStore
from voxloom.errors import Conflict, Misconfigured, NotFound

KEY = "event-ids"
"""In `control-store`: what enciphers them."""
KEY_BYTES = 32
_HALF = 32
_MASK = (1 << _HALF) - 1
_ROUNDS = range(4)
log = logging.getLogger("voxloom.gateway")
_SEALED = re.compile(r"[0-9a-f]{16}", re.ASCII)


class EventIds:
    """The numbers themselves."""

    def write(self, offset: int) -> bytes:
        return b"%d" % offset

    def read(self, text: str) -> int:
        """The offset; 0 for what is no id."""
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


class SealedEventIds(EventIds):
    """Ids of 16 hexadecimal digits, each of which stands for one number."""

    def __init__(self, key: bytes) -> None:
        self._hashes = [hashlib.blake2s(digest_size=_HALF // 8, key=key, person=b"event-%d" % one) for one in _ROUNDS]

    def write(self, offset: int) -> bytes:
        left, right = offset >> _HALF & _MASK, offset & _MASK
        for turn in _ROUNDS:
            left, right = right, left ^ self._mix(turn, right)
        return b"%016x" % (left << _HALF | right)

    def read(self, text: str) -> int:
        if not _SEALED.fullmatch(text):
            return 0
        number = int(text, 16)
        left, right = number >> _HALF, number & _MASK
        for turn in reversed(_ROUNDS):
            left, right = right ^ self._mix(turn, left), left
        return left << _HALF | right

    def _mix(self, turn: int, half: int) -> int:
        digest = self._hashes[turn].copy()
        digest.update(half.to_bytes(_HALF // 8, "big"))
        return int.from_bytes(digest.digest(), "big")


async def sealed_ids(store: ObjectStore, *, alone: bool = False) -> SealedEventIds:
    """With the key that all gateways on this store have; the first one makes it. Raises StoreUnavailable, and
    Misconfigured where what is there can be no key, unless this gateway is `alone` on it: then it makes another."""
    key = await _kept(store)
    if key is not None and len(key) != KEY_BYTES and alone:
        log.error("the object %r in %r is damaged; there is another key now", KEY, COLLECTION)
        await store.delete(COLLECTION, KEY)
        key = None
    if key is None:
        with suppress(Conflict):  # Another gateway was quicker.
            await store.put(COLLECTION, KEY, secrets.token_bytes(KEY_BYTES), condition=ABSENT)
        key = await store.get(COLLECTION, KEY)
    if len(key) != KEY_BYTES:
        raise _damaged(len(key))
    return SealedEventIds(key)


async def _kept(store: ObjectStore) -> bytes | None:
    try:
        return await store.get(COLLECTION, KEY)
    except NotFound:
        return None


def _damaged(length: int) -> Misconfigured:
    """Others may still use the right one, which this gateway cannot know."""
    return Misconfigured(
        f"The object {KEY!r} in {COLLECTION!r} has {length} bytes in place of {KEY_BYTES}: it is damaged, or something "
        "else has written it. Put it back from a copy of the store. If there is none, stop all gateways, delete it and "
        "start them again: the next one makes another, and clients follow their events from the beginning once."
    )
