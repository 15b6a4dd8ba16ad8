"""`Idempotency-Key`: whatever a client sends twice under one key happens once.

In `execution-store`, `idempotency/<hash of the key>` keeps what the first request has come to: a fingerprint of what
was sent, and the very event that it meant. It is written (`If-None-Match`) before that event is published, so whoever
asks again, here or at another gateway, after an answer that got lost or a gateway that died, publishes the same
event again unless it has arrived. Everybody who hears an event twice acts once.

Refusals are not kept: nothing has happened, so the same key may be tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from aiohttp import web

from messages.base import Event
from messages.packing import pack, unpack
from services.gateway.http.callers import caller_of
from shared.caller import LOCAL, Caller
from shared.objects.base import ABSENT, EXPIRING, Condition, ObjectInfo, ObjectStore
from shared.records.store import COLLECTION
from shared.validation import refused
from voxloom.errors import Conflict, InvalidInput, NotFound, Unavailable, VoxloomError

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
_HASHED_AT_ONCE = 1 << 20
"""Bytes; a thread does it."""

E = TypeVar("E", bound=Event)


class Key(NamedTuple):
    """What a client calls its request; others, and the same one in another project, may call theirs the same."""

    caller: Caller
    text: str


def key_of(request: web.Request) -> Key | None:
    """The client's key. Raises InvalidInput where there are several, or one that is none."""
    given = request.headers.getall(HEADER, ())
    if not given:
        return None
    key = given[0].strip()
    if len(given) > 1 or not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        said = f"must be there once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise refused([{"loc": ["header", HEADER], "msg": said}])
    return Key(caller_of(request), key)


def fingerprint_of(operation: str, content: Any) -> str:
    """Equal for requests that mean the same: `content` is JSON, or the hash of a body."""
    said = orjson.dumps([operation, content], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()


class Digest:
    """Of a body: its size and hash, by which it is known again."""

    def __init__(self) -> None:
        self.text = ""

    def note(self, info: ObjectInfo) -> None:
        """The body is this object now."""
        if info.digest is None:
            raise VoxloomError(f"the object store has not hashed {info.key!r} while it came in")
        self.text = f"{info.size}-{info.digest.partition(':')[2]}"

    async def of(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Passes a body on that is not stored, and knows its hash afterwards."""
        digest, size, pieces, held = hashlib.sha256(), 0, list[bytes](), 0
        async for chunk in chunks:
            size += len(chunk)
            pieces.append(chunk)
            held += len(chunk)
            if held >= _HASHED_AT_ONCE:
                await asyncio.to_thread(_update, digest, pieces)
                pieces, held = [], 0
            yield chunk
        _update(digest, pieces)
        self.text = f"{size}-{digest.hexdigest()}"


def _update(digest: hashlib._Hash, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


@dataclass(frozen=True)
class Kept(Generic[E]):
    """What an earlier request under a key has come to."""

    event: E
    fingerprint: str
    etag: str
    """Of the object that says so."""

    def checked(self, fingerprint: str) -> E:
        """The event, if the request is the same. Raises InvalidInput (`idempotency_key_reused`)."""
        if fingerprint != self.fingerprint:
            raise _reused()
        return self.event


class Keys:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def find(self, key: Key, kind: type[E]) -> Kept[E] | None:
        """Raises InvalidInput (`idempotency_key_reused`) if the key was used for something of another kind."""
        try:
            # In this order: should it be replaced in between, the old etag keeps us from replacing the new one.
            etag = (await self._store.head(COLLECTION, _place(key))).etag
            data = await self._store.get(COLLECTION, _place(key))
        except NotFound:
            return None
        fingerprint, _, packed = data.partition(b"\n")
        event = unpack(packed)[0]
        if not isinstance(event, kind):
            raise _reused()
        return Kept(event, fingerprint.decode(), etag)

    async def keep(self, key: Key, fingerprint: str, event: E, instead_of: Kept[E] | None = None) -> E:
        """The event that counts under this key: this one, or that of a request which was faster.

        `instead_of` is what was found, where it is of no use any more. Raises InvalidInput (`idempotency_key_reused`).
        """
        condition = ABSENT if instead_of is None else Condition(etag=instead_of.etag)
        data = fingerprint.encode() + b"\n" + pack([event])
        try:
            await self._store.put(COLLECTION, _place(key), data, condition=condition, tags=EXPIRING)
        except Conflict:
            return (await self._faster(key, type(event))).checked(fingerprint)
        return event

    async def _faster(self, key: Key, kind: type[E]) -> Kept[E]:
        kept = await self.find(key, kind)
        if kept is None:
            raise Unavailable("The idempotency key expires just now; send the request again.")
        return kept


class Once(ABC, Generic[E]):
    """One kind of request that may come twice: how to do it, and how to know it again."""

    kind: type[E]

    @abstractmethod
    async def make(self) -> E:
        """Checks and stores what was sent; the event to publish for it."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Of this request, once `make` or `read_again` has seen it whole."""

    async def read_again(self) -> None:
        """Reads what was sent for the fingerprint's sake alone."""
        return

    async def holds(self, _: E) -> bool:
        """Whether an earlier request's outcome can still be told. If not, this one is done as if it were the first."""
        return True

    async def undo(self, _: E) -> None:
        """Takes away what `make` has stored: another request was faster."""
        return

    async def event(self, keys: Keys, key: Key) -> E:
        """The event that counts under this key, whether or not it was published already.

        Raises InvalidInput (`idempotency_key_reused`), and what `make` raises.
        """
        kept = await keys.find(key, self.kind)
        if kept is not None and await self.holds(kept.event):
            await self.read_again()
            return kept.checked(self.fingerprint())
        own, counts = await self.make(), None
        try:
            counts = await keys.keep(key, self.fingerprint(), own, instead_of=kept)
        finally:
            if counts is not own:
                await self.undo(own)
        return counts


def _place(key: Key) -> str:
    caller, text = key
    named = f"{caller.project}/{text}"
    if caller.principal != LOCAL.principal:  # Those of everybody lie where they have always been.
        named = orjson.dumps([caller.project, caller.principal, text]).decode()
    return f"idempotency/{hashlib.sha256(named.encode()).hexdigest()}"


def _reused() -> InvalidInput:
    return InvalidInput(
        "This idempotency key was used for another request; make a new key for each thing you want done.",
        code="idempotency_key_reused",
    )
