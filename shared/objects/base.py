"""The object store port: collections of immutable-by-habit objects. One behaviour test class runs on every adapter.

Every write is atomic: a reader sees the old object or the new one, whole, also after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from shared.expiry import ExpiryClock
from voxloom.errors import Conflict, NotFound, VoxloomError
from voxloom.ids import new_id

COLLECTIONS = (
    "data-store",
    "algorithm-store",
    "module-store",
    "asset-store",
    "execution-store",
    "training-store",
    "deploy-store",
    "sample-store",
    "algorithm-checkpoint-store",
    "benchmark-store",
    "control-store",
    "audit-store",
)

EXPIRING: Mapping[str, str] = {"expiring": "yes"}
"""The tag of objects that go when their collection's time is over; those without it stay."""

MARK_COLLECTION = "execution-store"
MARK = "mark"
"""The object that has the id of the store."""

CHUNK = 1 << 20
"""Bytes per piece when an object is streamed."""

AT_ONCE = 64
"""Calls under way at the same time where many objects are asked for one by one."""


@dataclass(frozen=True)
class ObjectInfo:
    key: str
    size: int
    etag: str
    """Changes whenever the bytes change; without quotes."""
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Written with the object and never changed; short ASCII."""
    digest: str | None = None
    """`sha-256:<hex>` of the bytes. None: it is not known, or not yet, or `digest` has to be asked for it."""


@dataclass(frozen=True)
class Page:
    items: list[ObjectInfo]
    next: str | None
    """Pass it as `after` to go on; None at the end."""


@dataclass(frozen=True)
class Condition:
    """When a write may happen. Where it does not hold: Conflict, code `precondition_failed`."""

    absent: bool = False
    """Only if there is no such object (`If-None-Match: *`)."""
    etag: str | None = None
    """Only if the object still has this etag (`If-Match`)."""


ANYWAY = Condition()
ABSENT = Condition(absent=True)


@dataclass(frozen=True)
class Upload:
    """One small object of a `put_many`."""

    key: str
    data: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileUpload:
    """One file of a `put_files`. The file is moved into the store where that is possible: it is gone afterwards."""

    key: str
    path: Path
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    """Of the file's bytes, where the caller knows it."""
    settled: bool = False
    """Nobody can change the file any more. Other files are copied where somebody might."""


class Sender(ABC):
    """Sends one version of an object to a socket; to be closed."""

    info: ObjectInfo

    @abstractmethod
    async def send(self, start: int, stop: int) -> int:
        """Sends the bytes from `start` up to `stop`, until the socket is full. Returns how many that were.

        Raises ConnectionError when the other side is gone, and StoreUnavailable.
        """

    @abstractmethod
    def close(self) -> None: ...


class ObjectStore(ABC):
    """`collection` is one of COLLECTIONS; a key is any text without NUL, 900 bytes of UTF-8 at most, never a path.

    Raises throughout: NotFound (code `object_not_found`), Conflict (`precondition_failed`), StoreUnavailable,
    InvalidInput (a key or collection that cannot be).
    """

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @property
    @abstractmethod
    def scratch(self) -> Path:
        """A local folder for files on their way in or out: `put_files` takes them from here, and `checkout` places them
        here, without copying where that can be. Emptied when the store is opened."""

    @property
    def is_here(self) -> bool:
        """Whether objects are files of this machine: then `checkout` of a large one costs nothing."""
        return False

    @property
    def served(self) -> ServedStore | None:
        """The store itself, where it is our gateway that its signed URLs lead to."""
        return None

    @abstractmethod
    async def put(
        self,
        collection: str,
        key: str,
        data: bytes,
        *,
        condition: Condition = ANYWAY,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Stores small bytes."""

    @abstractmethod
    async def put_many(self, collection: str, uploads: Sequence[Upload]) -> None:
        """Stores many small objects; each is atomic, all together need not be."""

    @abstractmethod
    async def put_stream(
        self,
        collection: str,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        limit: int | None = None,
        digest: str | None = None,
        condition: Condition = ANYWAY,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Stores what the iterator yields, with bounded memory; TooLarge past `limit` bytes, and InvalidInput
        (`digest_mismatch`) where `digest` is another. If it raises or is cancelled, nothing is stored."""

    @abstractmethod
    async def put_files(self, collection: str, files: Sequence[FileUpload]) -> list[ObjectInfo]:
        """Moves whole files into the store; all are stored when it returns. Their digests may be known later only."""

    @abstractmethod
    async def get(self, collection: str, key: str) -> bytes:
        """A small object, whole."""

    @abstractmethod
    async def head(self, collection: str, key: str) -> ObjectInfo: ...

    async def head_many(self, collection: str, keys: Iterable[str]) -> dict[str, ObjectInfo]:
        """Those of the objects that are there, in the order of `keys`."""
        return await _those_there(keys, lambda key: self.head(collection, key))

    @abstractmethod
    def stream(self, collection: str, key: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `stop`, in pieces of CHUNK; of one version of the object, even
        if it is replaced or deleted meanwhile."""

    async def open_sender(self, collection: str, key: str, socket: int) -> Sender | None:
        """For an object in a file of this machine, which the system can send without copying it through this process;
        None for others, which `stream` is for. `socket` is the descriptor of one that does not block; it may be closed
        at any time. Raises NotFound, unless it returns None for all."""
        return None

    async def digest(self, collection: str, info: ObjectInfo) -> str | None:
        """Of an object that `head` has told of; None where nobody knows it."""
        return info.digest

    async def give_digest(self, collection: str, key: str, etag: str, digest: str) -> bool:
        """Notes the digest of just this version of a large object. Returns whether it was noted."""
        return False

    @abstractmethod
    async def checkout(self, collection: str, key: str, target: Path, *, check: bool = True) -> ObjectInfo:
        """Places the object at the local path `target`, as a link where possible. It must not be written to; it
        stays readable when the object is deleted.

        With `check`, raises Damaged where the bytes do not have the object's digest. One machine looks once.
        """

    async def checkout_many(self, collection: str, targets: Mapping[str, Path]) -> dict[str, ObjectInfo]:
        """Checks out every object, named by its key, to a path of its own. Returns those that are there. Raises
        Damaged."""
        return await _those_there(targets, lambda key: self.checkout(collection, key, targets[key]))

    @abstractmethod
    async def delete(self, collection: str, *keys: str) -> None:
        """Silent about keys that are not there."""

    @abstractmethod
    async def list(self, collection: str, *, prefix: str = "", after: str | None = None, limit: int = 1000) -> Page:
        """A page of objects in the order of their keys' UTF-8 bytes. Metadata may be missing in a listing."""

    @abstractmethod
    async def tags(self, collection: str, key: str) -> dict[str, str]: ...

    @abstractmethod
    async def set_tags(self, collection: str, key: str, tags: Mapping[str, str]) -> None:
        """Replaces all tags. Giving an object the EXPIRING tag starts its time anew where the store allows it."""

    async def shed(self, free: int) -> None:
        """Lets go of what can be had again, until so many bytes are free on the local disk, or nothing is left."""

    async def self_test(self) -> None:
        """Tries out what nothing else does before people need it. Raises Misconfigured with what is wrong."""

    @abstractmethod
    async def set_expiry(self, collection: str, days: float | None) -> None:
        """From now on objects tagged EXPIRING go after `days`; None: they stay."""

    async def expiry_clock(self) -> ExpiryClock:
        """What all that hides or removes things after a time goes by."""
        return ExpiryClock(time.time())

    async def keep_expiry_clock(self) -> None:
        """So that the next start goes on from there; one process does that now and then."""
        return

    async def mark(self) -> str:
        """An id of this store: made once, by whoever asks first. Two who are told different ones do not use the same
        store. A copy of a store has the mark of the original."""
        try:
            return (await self.get(MARK_COLLECTION, MARK)).decode(errors="replace")
        except NotFound:
            pass
        with contextlib.suppress(Conflict):
            await self.put(MARK_COLLECTION, MARK, new_id().encode(), condition=ABSENT)
        return (await self.get(MARK_COLLECTION, MARK)).decode(errors="replace")

    @abstractmethod
    async def presign(self, method: Literal["GET", "PUT"], collection: str, key: str, *, expires: float) -> str:
        """A URL under which anybody can get or put this one object for `expires` seconds."""

    @abstractmethod
    async def healthy(self) -> bool:
        """Whether a small read and write would succeed now."""

    def complaint(self) -> str | None:
        """What is wrong with the store and only people can mend, in a few words."""
        return None


class ServedStore(ObjectStore):
    """One that nobody reaches from outside but through our gateway, which serves its signed URLs (signed.py)."""

    public_url: str | None = None
    """Where people reach the gateway; None: nobody knows yet."""

    @property
    def served(self) -> ServedStore:
        return self

    @abstractmethod
    def check_signature(self, method: str, collection: str, key: str, query: Mapping[str, str]) -> None:
        """Raises NotAllowed unless the query of a request comes from `presign` and is still good."""


async def list_all(
    store: ObjectStore, collection: str, prefix: str = "", *, after: str | None = None
) -> AsyncIterator[ObjectInfo]:
    """Every object under a prefix whose key comes after `after`, page by page."""
    while True:
        page = await store.list(collection, prefix=prefix, after=after)
        for item in page.items:
            yield item
        if page.next is None:
            return
        after = page.next


async def _those_there(keys: Iterable[str], look: Callable[[str], Awaitable[ObjectInfo]]) -> dict[str, ObjectInfo]:
    """Looks at every key, AT_ONCE at a time. The first error but NotFound ends it all."""
    wanted = dict.fromkeys(keys)
    waiting = iter(wanted)
    found: dict[str, ObjectInfo] = {}

    async def keep_looking() -> None:
        for key in waiting:
            with contextlib.suppress(NotFound):
                found[key] = await look(key)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(wanted))):
                group.create_task(keep_looking())
    except ExceptionGroup as errors:  # `except*` would raise a group again in Python before 3.11.4
        ours, others = errors.split(VoxloomError)
        if ours is None or others is not None:
            raise
        raise ours.exceptions[0] from None
    return {key: found[key] for key in wanted if key in found}
