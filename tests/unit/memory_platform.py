"""A store in memory that can fail at any operation, a bus that notes what is published, and events of runs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from messages.base import Event, WantsData
from messages.runs import (
    AlgorithmPin,
    Result,
    RunAssigned,
    RunCompleted,
    RunRequested,
    RunStarted,
    Work,
)
from messages.wire import Message
from shared.bus.base import (
    Bus,
    DeadLetter,
    Following,
    Handler,
    LiveHandler,
    Queue,
    QueueStats,
    StreamHandler,
    Subscription,
    everything,
)
from shared.objects.base import ANYWAY, Condition, FileUpload, ObjectInfo, ObjectStore, Page, Upload
from shared.records.fold import RunState
from shared.records.packs import PREFIX as PACKS
from shared.records.packs import index_of, pack_of
from shared.service import Platform
from tests.given import Given
from voxloom.errors import Conflict, NotFound
from voxloom.models import utc_now

WORK = Work(
    algorithm=AlgorithmPin(algorithm_id="a", name="noop", major="1", minor="0", module="m", assets="s"),
    input_dataset_ids=[], parameters={}, args={}, devices=["cpu"], session_token="t",
)  # fmt: skip


class Crash(Exception):
    """The process ends here, whatever the program would have done about an error."""


def stored_runs(store: MemoryStore) -> dict[str, RunState]:
    """The records of ended runs that lie in the store, one by one or in packs."""
    found: dict[str, RunState] = {}
    packs = {pack_of(key, 0).stamp: data for (_, key), data in store.objects.items() if key.startswith(PACKS)}
    for stamp in sorted(packs):
        places = index_of(packs[stamp])
        assert not isinstance(places, int)
        found |= {run: RunState.model_validate_json(packs[stamp][slice(*place)]) for run, place in places.items()}
    alone = [data for (_, key), data in store.objects.items() if key.startswith("runs/")]
    return found | {state.run: state for state in map(RunState.model_validate_json, alone)}


class MemoryStore(ObjectStore):
    """Small objects only. `before` is called with the name and key of every operation, `after` once it has happened;
    either may raise."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self._tags: dict[tuple[str, str], dict[str, str]] = {}
        self.before: Callable[[str, str], None] = lambda _what, _key: None
        self.after: Callable[[str, str], None] = lambda _what, _key: None

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for _, key in self.objects if key.startswith(prefix))

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def scratch(self) -> Path:
        raise NotImplementedError

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
        self.before("put", key)
        if condition.absent and (collection, key) in self.objects:
            raise Conflict(f"{key} is there already", code="precondition_failed")
        self.objects[collection, key] = data
        self._tags[collection, key] = dict(tags or {})
        self.after("put", key)
        return _info(key, data)

    async def put_many(self, collection: str, uploads: Sequence[Upload]) -> None:
        for upload in uploads:
            await self.put(collection, upload.key, upload.data, tags=upload.tags)

    async def put_stream(
        self, collection: str, key: str, chunks: AsyncIterator[bytes], *, limit: int | None = None,
        digest: str | None = None, condition: Condition = ANYWAY, metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ObjectInfo:  # fmt: skip
        raise NotImplementedError

    async def put_files(self, collection: str, files: Sequence[FileUpload]) -> list[ObjectInfo]:
        raise NotImplementedError

    async def get(self, collection: str, key: str) -> bytes:
        self.before("get", key)
        if (collection, key) not in self.objects:
            raise NotFound(f"there is no {key}", code="object_not_found")
        return self.objects[collection, key]

    async def head(self, collection: str, key: str) -> ObjectInfo:
        return _info(key, await self.get(collection, key))

    async def stream(
        self, collection: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        yield (await self.get(collection, key))[start:stop]

    async def checkout(self, collection: str, key: str, target: Path, *, check: bool = True) -> ObjectInfo:
        raise NotImplementedError

    async def delete(self, collection: str, *keys: str) -> None:
        for key in keys:
            self.before("delete", key)
            self.objects.pop((collection, key), None)
            self.after("delete", key)

    async def list(self, collection: str, *, prefix: str = "", after: str | None = None, limit: int = 1000) -> Page:
        self.before("list", prefix)
        found = sorted(
            key for at, key in self.objects if at == collection and key.startswith(prefix) and key > (after or "")
        )
        items = [_info(key, self.objects[collection, key]) for key in found[:limit]]
        return Page(items, items[-1].key if len(found) > limit else None)

    async def tags(self, collection: str, key: str) -> dict[str, str]:
        await self.get(collection, key)
        return dict(self._tags.get((collection, key), {}))

    async def set_tags(self, collection: str, key: str, tags: Mapping[str, str]) -> None:
        await self.get(collection, key)
        self._tags[collection, key] = dict(tags)

    async def set_expiry(self, collection: str, days: float | None) -> None: ...

    async def presign(self, method: Literal["GET", "PUT"], collection: str, key: str, *, expires: float) -> str:
        raise NotImplementedError

    async def healthy(self) -> bool:
        return True


def _info(key: str, data: bytes) -> ObjectInfo:
    return ObjectInfo(key, len(data), hashlib.sha256(data).hexdigest(), utc_now())


class NotingBus(Bus):
    """Keeps what is published and announced. `refuse` is called with every batch before, and may raise."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.announced: list[Event] = []
        self.refuse: Callable[[Sequence[Event]], None] = lambda _events: None

    async def publish(self, *events: Event) -> None:
        self.refuse(events)
        self.published += events

    def announce(self, event: Event) -> None:
        self.announced.append(event)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def publish_message(self, message: Message) -> None:
        raise NotImplementedError

    async def declare(self, *queues: Queue) -> None: ...

    async def consume(self, queue: Queue, handler: Handler) -> Subscription:
        raise NotImplementedError

    async def follow(
        self,
        handler: StreamHandler,
        *,
        after: int | None = None,
        since: datetime | None = None,
        on_loss: Callable[[], None] | None = None,
        wanted: WantsData = everything,
    ) -> Following:
        raise NotImplementedError

    async def listen(self, patterns: Sequence[str], handler: LiveHandler, *, limit: int = 10_000) -> Subscription:
        raise NotImplementedError

    async def delete_queue(self, name: str) -> None: ...

    async def stats(self, *also: str) -> list[QueueStats]:
        return []

    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        return []

    async def replay(self, *dead_letter_ids: str) -> set[str]:
        return set()

    async def healthy(self) -> bool:
        return True


def memory_platform(store: ObjectStore | None = None, bus: Bus | None = None, **settings: Any) -> Platform:
    return Platform(bus=bus or NotingBus(), store=store or MemoryStore(), settings=Given(**settings))


def requested(run: str) -> Event:
    return RunRequested(subject=run, work=WORK)


def assigned(run: str, attempt: int = 1, epoch: int = 0, incarnation: str = "i") -> RunAssigned:
    return RunAssigned(
        subject=run, attempt=attempt, epoch=epoch, worker_id="w", incarnation=incarnation, device_class="cpu", work=WORK
    )


def started(run: str, attempt: int = 1, epoch: int = 0) -> Event:
    return RunStarted(
        subject=run, attempt=attempt, epoch=epoch, worker_id="w", incarnation="i", device_class="cpu", device="cpu"
    )


def completed(run: str, attempt: int = 1, epoch: int = 0) -> Event:
    return RunCompleted(
        subject=run, attempt=attempt, epoch=epoch, worker_id="w", incarnation="i", result=Result(outputs=[f"of {run}"])
    )


def whole(run: str) -> list[Event]:
    """A run from its request to its end."""
    return [requested(run), assigned(run), started(run), completed(run)]
