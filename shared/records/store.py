"""Where records lie in the store.

In `execution-store`:

    segments/<number>     the events of one append, in the order they came; written once (`If-None-Match`)
    snapshots/<number>    the ledger as of that segment; the segments up to it go
    rows/<number>         a block of rows of ended runs; written once. Where some were deleted, what is left goes into
                          another, and the block goes when no reader of an older snapshot can want it
    runs/<id>             one ended run, whole
    logs/<run>/<attempt>  a log that is too long for the record

The runs and logs of trainings lie in `training-store` likewise, those of benchmarks in `benchmark-store`; a deploy's
record lies under its id in `deploy-store`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from messages.base import Event
from messages.runs import RunRequested, Task
from messages.wire import UndecodableMessage, UnknownVersion, decode, encode
from shared.objects.base import ABSENT, EXPIRING, ObjectStore, Upload, list_all
from shared.records.fold import DeployState, RunState
from shared.records.ledger import Ledger, Snapshot, review
from shared.records.odd import is_odd, readable_rows, readable_snapshot
from voxloom.errors import Conflict, NotFound, Unavailable
from voxloom.ids import age_of
from voxloom.models import ExecutionSummary

COLLECTION = "execution-store"
DEPLOYS = "deploy-store"
COLLECTIONS: Mapping[Task, str] = {
    "execution": COLLECTION,
    "training": "training-store",
    "benchmark": "benchmark-store",
}
"""Where runs lie once they have ended."""

_M = TypeVar("_M", bound=BaseModel)
_ROWS = TypeAdapter(list[ExecutionSummary])
_log = logging.getLogger("voxloom.records")
_LOAD_TRIES = 20
_DUMPED_AT_ONCE = 500
OLD_SECS = 300.0
"""By its id's own time. Ends are remembered for longer (SETTLED_SECS): nobody has forgotten a run that is younger."""
_READ_AT_ONCE = 50


class AnotherWriter(Exception):
    """Somebody else writes the records, too: there is a second recorder, and this one must stop."""


class DamagedRecords(Exception):
    """A segment is missing that nobody should have removed."""


def log_key(run: str, attempt: int) -> str:
    return f"logs/{run}/{attempt}"


class RecordStore:
    """Reads and writes the ledger's pieces. Only the recorder writes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def append(self, number: int, events: Sequence[Event]) -> None:
        """Writes one segment. Raises AnotherWriter."""
        data = pack_segment(events)
        try:
            await self._store.put(COLLECTION, _segment_key(number), data, condition=ABSENT)
        except Conflict:
            # A write whose answer got lost looks like a conflict: it is none if the bytes are ours.
            if await self._segment(number) != data:
                raise AnotherWriter(f"segment {number} was written by somebody else") from None

    async def check_alone(self, segment: int) -> None:
        """Raises AnotherWriter if there is a snapshot of more than the segments up to `segment`."""
        newest = await self._newest_snapshot()
        if newest is not None and _segment_of(newest) > segment:
            raise AnotherWriter(f"there is a snapshot beyond segment {segment}, written by somebody else")

    async def _segment(self, number: int) -> bytes | None:
        try:
            return await self._store.get(COLLECTION, _segment_key(number))
        except NotFound:
            return None

    async def load_ledger(self) -> Ledger:
        """The ledger as of the last segment that was written. Raises DamagedRecords.

        A recorder on its way out may still write its last snapshot, and remove what that covers while it is read here:
        then everything is read anew.
        """
        for _ in range(_LOAD_TRIES):
            newest = await self._newest_snapshot()
            try:
                ledger = await self._replay(newest)
            except (NotFound, DamagedRecords):
                if await self._newest_snapshot() == newest:
                    raise
            else:
                if await self._newest_snapshot() == newest:
                    ledger.blocks = await self._blocks_left(ledger.blocks)
                    return ledger
        raise Unavailable("The records change faster than they can be read; try again.")

    async def _replay(self, snapshot_key: str | None) -> Ledger:
        ledger = Ledger(await self.load_snapshot(snapshot_key) if snapshot_key else None)
        start = _segment_key(ledger.segment)
        async for item in list_all(self._store, COLLECTION, "segments/", after=start):
            number = int(item.key.rpartition("/")[2])
            if number != ledger.segment + 1:
                missing = ledger.segment + 1
                raise DamagedRecords(f"segment {missing} of the records is missing; restore it from a backup")
            epoch, events = review(ledger.epoch, read_segment(item.key, await self._store.get(COLLECTION, item.key)))
            ledger.apply(number, epoch, events)
        return ledger

    async def _blocks_left(self, blocks: Sequence[int]) -> list[int]:
        """Those that have not expired."""
        left = {item.key async for item in list_all(self._store, COLLECTION, "rows/")}
        return [number for number in blocks if _rows_key(number) in left]

    async def save_snapshot(self, snapshot: Snapshot) -> str:
        """Writes a snapshot and returns its key."""
        key = f"snapshots/{snapshot.segment:012d}-{snapshot.epoch.number:06d}"
        await self._store.put(COLLECTION, key, await _dump(snapshot))
        return key

    async def load_snapshot(self, key: str | None = None) -> Snapshot | None:
        """The snapshot under `key`, or the newest one; None if there has never been one. Raises NotFound where the one
        that was asked for has been replaced by a newer one, Unavailable where that goes on and on."""
        if key is not None:
            return await self._snapshot(key)
        for _ in range(_LOAD_TRIES):
            key = await self._newest_snapshot()
            try:
                return await self._snapshot(key) if key is not None else None
            except NotFound:
                continue  # The recorder has just replaced it.
        raise Unavailable("The records change faster than they can be read; try again.")

    async def _snapshot(self, key: str) -> Snapshot:
        return readable_snapshot(key, await self._store.get(COLLECTION, key))

    async def drop_before(self, snapshot_key: str, segment: int) -> None:
        """Removes the snapshots before that one, and the segments that it covers. Raises AnotherWriter if there is a
        later one."""
        keys = [item.key async for item in list_all(self._store, COLLECTION, "snapshots/")]
        covered = []
        async for item in list_all(self._store, COLLECTION, "segments/"):
            if item.key > _segment_key(segment):
                break
            covered.append(item.key)
        await self._store.delete(COLLECTION, *(key for key in keys if key < snapshot_key), *covered)
        if any(key > snapshot_key for key in keys):
            raise AnotherWriter("there is a later snapshot, written by somebody else")

    async def save_runs(self, states: Sequence[RunState]) -> None:
        for task, collection in COLLECTIONS.items():
            uploads = [
                Upload(_run_key(state.run), state.model_dump_json().encode(), tags=EXPIRING)
                for state in states
                if state.work is None or state.work.task == task
            ]
            if uploads:
                await self._store.put_many(collection, uploads)

    async def load_run(self, run: str, task: Task | None = None) -> RunState | None:
        """An ended run; None if there is none (any more) under that id. Who knows its task spares some reads."""
        for collection in COLLECTIONS.values() if task is None else [COLLECTIONS[task]]:
            found = await self._load(collection, _run_key(run), RunState)
            if found is not None:
                return found
        return None

    async def spent(self, events: Iterable[Event], known: Callable[[str], bool]) -> set[str]:
        """Of the runs that are asked for, those that have been run: they are asked for again, so late that nobody
        remembers them but their records. Many are looked up together. Runs that are `known`, or too young for that, are
        not looked up."""
        asked = [event for event in events if isinstance(event, RunRequested) and not known(event.subject)]
        old = [event for event in asked if _is_old(event.subject)]
        found: set[str] = set()
        for task, collection in COLLECTIONS.items():
            keys = {_run_key(event.subject): event.subject for event in old if event.work.task == task}
            if keys:
                found |= {keys[key] for key in await self._store.head_many(collection, keys)}
        return found

    async def delete_runs(self, runs: Sequence[str]) -> None:
        """Removes the objects of these runs, and their logs, as far as there are any."""
        logs = await asyncio.gather(*(self._logs_of(run) for run in runs))
        await self._store.delete(COLLECTION, *(_run_key(run) for run in runs), *(key for keys in logs for key in keys))

    async def _logs_of(self, run: str) -> list[str]:
        return [item.key async for item in list_all(self._store, COLLECTION, f"logs/{run}/")]

    async def save_deploys(self, states: Sequence[DeployState]) -> None:
        uploads = [
            Upload(f"records/{state.deploy_id}", state.model_dump_json().encode(), tags=EXPIRING) for state in states
        ]
        await self._store.put_many(DEPLOYS, uploads)

    async def load_deploy(self, deploy_id: str) -> DeployState | None:
        return await self._load(DEPLOYS, f"records/{deploy_id}", DeployState)

    async def newest_deploys(self, limit: int) -> list[DeployState]:
        """Ended deploys as they are kept, the newest first."""
        ids = [item.key.partition("/")[2] async for item in list_all(self._store, DEPLOYS, "records/")]
        ids.sort(key=lambda one: age_of(one) or 0.0)
        found: list[DeployState | None] = []
        for start in range(0, min(limit, len(ids)), _READ_AT_ONCE):
            some = ids[start : min(start + _READ_AT_ONCE, limit)]
            found += await asyncio.gather(*(self.load_deploy(one) for one in some))
        return [deploy for deploy in found if deploy is not None]

    async def save_rows(self, number: int, rows: Sequence[ExecutionSummary]) -> int:
        """Writes a block under the first number from `number` on that nobody has taken, and returns that number."""
        data = _ROWS.dump_json(list(rows))
        while True:
            try:
                await self._store.put(COLLECTION, _rows_key(number), data, condition=ABSENT, tags=EXPIRING)
            except Conflict:
                number += 1
            else:
                return number

    async def load_rows(self, numbers: Sequence[int]) -> list[ExecutionSummary]:
        """The rows of these blocks, in order; blocks that have expired are left out."""
        blocks = await asyncio.gather(*(self._load_block(number) for number in numbers))
        return [row for block in blocks for row in block]

    async def remove_rows(self, numbers: Sequence[int]) -> None:
        await self._store.delete(COLLECTION, *(_rows_key(number) for number in numbers))

    async def _load_block(self, number: int) -> list[ExecutionSummary]:
        try:
            return readable_rows(_rows_key(number), await self._store.get(COLLECTION, _rows_key(number)))
        except NotFound:
            return []

    async def _load(self, collection: str, key: str, model: type[_M]) -> _M | None:
        try:
            return model.model_validate_json(await self._store.get(collection, key))
        except NotFound:
            return None
        except ValidationError as error:
            if not is_odd(error):
                raise
            _log.warning("%s in %s is passed over, it was made of an odd event: %s", key, collection, error)
            return None

    async def _newest_snapshot(self) -> str | None:
        newest = None
        async for item in list_all(self._store, COLLECTION, "snapshots/"):
            newest = item.key
        return newest


async def _dump(snapshot: Snapshot) -> bytes:
    """Its JSON, written piece by piece: of a hundred thousand runs it takes a second, and others want the loop."""
    head = snapshot.model_dump_json(exclude={"runs"})
    runs: list[str] = []
    for start in range(0, len(snapshot.runs), _DUMPED_AT_ONCE):
        runs += [state.model_dump_json() for state in snapshot.runs[start : start + _DUMPED_AT_ONCE]]
        await asyncio.sleep(0)
    return f'{head[:-1]},"runs":[{",".join(runs)}]}}'.encode()


def _is_old(run: str) -> bool:
    age = age_of(run)
    return age is None or age > OLD_SECS


def pack_segment(events: Sequence[Event]) -> bytes:
    messages = (encode(event) for event in events)
    return b"\n".join(orjson.dumps(message.headers) + b"\n" + message.body for message in messages)


def unpack_segment(data: bytes) -> list[Event]:
    """Raises UndecodableMessage."""
    return [decode(orjson.loads(headers), body) for headers, body in _lines(data)]


def read_segment(key: str, data: bytes) -> list[Event]:
    """The same, without what no handler would get today: earlier versions took in events that they should not have.
    Raises UnknownVersion: what a newer program has recorded must not get lost."""
    events: list[Event] = []
    for headers, body in _lines(data):
        try:
            events.append(decode(orjson.loads(headers), body))
        except UnknownVersion:
            raise
        except UndecodableMessage as error:
            _log.warning("an odd event in %s is passed over: %s", key, error)
    return events


def _lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    lines = data.split(b"\n") if data else []
    return zip(lines[::2], lines[1::2], strict=True)


def _segment_key(number: int) -> str:
    return f"segments/{number:012d}"


def _segment_of(snapshot_key: str) -> int:
    return int(snapshot_key.rpartition("/")[2].partition("-")[0])


def _run_key(run: str) -> str:
    return f"runs/{run}"


def _rows_key(number: int) -> str:
    return f"rows/{number:09d}"
