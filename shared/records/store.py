"""Where records lie in the store.

In `execution-store`:

    segments/, snapshots/ the journal (shared/journal.py); a snapshot is the ledger as of a segment
    rows/<number>         a block of rows of ended runs; written once. Where some were deleted, what is left goes into
                          another, and the block goes when no reader of an older snapshot can want it
    packs/                ended executions, many to an object (shared/records/packs.py)
    runs/<id>             one ended run, whole: a large one, or one that an earlier version has written
    logs/<run>/<attempt>  a log that is too long for the record

The runs and logs of trainings lie in `training-store` likewise, those of benchmarks in `benchmark-store`; a record of
another kind lies under `records/<id>` in the collection of its kind (`deploy-store`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from messages.base import Event
from messages.runs import RunRequested, Task
from shared.journal import Journal
from shared.keeping import end_run, record_key
from shared.objects.base import ABSENT, EXPIRING, ObjectStore, Upload, list_all
from shared.records.deploys import DEPLOY
from shared.records.fold import RunState
from shared.records.kinds import RecordKind, S
from shared.records.ledger import Ledger, Snapshot
from shared.records.odd import is_odd, readable_rows, readable_snapshot
from shared.records.packs import LARGEST_STATE, Packs
from voxloom.errors import Conflict, NotFound
from voxloom.ids import age_of, is_id
from voxloom.models import ExecutionSummary

COLLECTION = "execution-store"
DEPLOYS = DEPLOY.collection
COLLECTIONS: Mapping[Task, str] = {
    "execution": COLLECTION,
    "training": "training-store",
    "benchmark": "benchmark-store",
}
"""Where runs lie once they have ended."""

_M = TypeVar("_M", bound=BaseModel)
_ROWS = TypeAdapter(list[ExecutionSummary])
_log = logging.getLogger("voxloom.records")
_DUMPED_AT_ONCE = 500
OLD_SECS = 300.0
"""By its id's own time. Ends are remembered for longer (SETTLED_SECS): nobody has forgotten a run that is younger."""
_READ_AT_ONCE = 50
_DELETED_AT_ONCE = 50


def log_key(run: str, attempt: int) -> str:
    return f"logs/{run}/{attempt}"


class RecordStore:
    """Reads and writes the ledger's pieces. Only the recorder writes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.journal = Journal(store, COLLECTION)
        self.packs = Packs(store, COLLECTION)

    async def load_ledger(self) -> Ledger:
        """The ledger as of the last segment that was written. Raises DamagedJournal."""
        ledger = await self.journal.load(lambda saved: Ledger(None if saved is None else readable_snapshot(*saved)))
        ledger.blocks = await self._blocks_left(ledger.blocks)
        return ledger

    async def _blocks_left(self, blocks: Sequence[int]) -> list[int]:
        """Those that have not expired."""
        left = {item.key async for item in list_all(self._store, COLLECTION, "rows/")}
        return [number for number in blocks if _rows_key(number) in left]

    async def save_snapshot(self, snapshot: Snapshot) -> str:
        """Writes a snapshot and returns its key."""
        return await self.journal.save(snapshot.segment, snapshot.epoch.number, await _dump(snapshot))

    async def load_snapshot(self, key: str | None = None) -> Snapshot | None:
        """As `Journal.snapshot`."""
        saved = await self.journal.snapshot(key)
        return None if saved is None else readable_snapshot(*saved)

    async def save_runs(self, states: Sequence[RunState]) -> None:
        """Of executions, many to an object; a large one, and a run with another task, has an object of its own."""
        together: dict[str, bytes] = {}
        alone: dict[Task, list[Upload]] = {}
        for state in states:
            data, task = state.model_dump_json().encode(), _task_of(state)
            if task == "execution" and len(data) <= LARGEST_STATE and is_id(state.run):
                together[state.run] = data
            else:
                alone.setdefault(task, []).append(Upload(_run_key(state.run), data, tags=EXPIRING))
        for task, uploads in alone.items():
            await self._store.put_many(COLLECTIONS[task], uploads)
        if together:
            await self.packs.save(together)

    async def load_run(self, run: str, task: Task | None = None) -> RunState | None:
        """An ended run; None if there is none (any more) under that id. Who knows its task spares some reads."""
        if task in (None, "execution") and is_id(run) and (packed := await self.packs.load(run)) is not None:
            return _parsed("packs", _run_key(run), packed, RunState)
        for collection in COLLECTIONS.values() if task is None else [COLLECTIONS[task]]:
            for key in (_run_key(run), record_key(run)):
                if (found := await self._load(collection, key, RunState)) is not None:
                    return found
        return None

    async def keep_run(self, state: RunState) -> None:
        """Writes the record of an ended run once more, as an object that does not expire."""
        data = state.model_dump_json().encode()
        await self._store.put(COLLECTIONS[_task_of(state)], record_key(state.run), data)

    async def spent(self, events: Iterable[Event], known: Callable[[str], bool]) -> set[str]:
        """Of the runs that are asked for, those that have been run: they are asked for again, so late that nobody
        remembers them but their records. Many are looked up together. Runs that are `known`, or too young for that, are
        not looked up."""
        asked = [event for event in events if isinstance(event, RunRequested) and not known(event.subject)]
        old = [event for event in asked if is_old(event.subject)]
        found = await self.packs.have({event.subject for event in old if event.work.task == "execution"})
        for task, collection in COLLECTIONS.items():
            keys = {_run_key(event.subject): event.subject for event in old if event.work.task == task}
            if keys:
                found |= {keys[key] for key in await self._store.head_many(collection, keys)}
        return found

    async def delete_runs(self, runs: Sequence[str]) -> None:
        """Removes the records of these runs, and their logs, as far as there are any."""
        await self.packs.delete(list(filter(is_id, runs)))
        for start in range(0, len(runs), _DELETED_AT_ONCE):
            some = runs[start : start + _DELETED_AT_ONCE]
            await self._delete_in(COLLECTION, some)
            for other in set(COLLECTIONS.values()) - {COLLECTION}:
                there = await self._store.head_many(other, list(map(_run_key, some)))
                await self._delete_in(other, [run for run in some if _run_key(run) in there])
            await self.end_keeping(some)

    async def _delete_in(self, collection: str, runs: Sequence[str]) -> None:
        if runs:
            logs = await asyncio.gather(*(self._logs_of(collection, run) for run in runs))
            await self._store.delete(collection, *(key for keys in logs for key in keys), *map(_run_key, runs))

    async def end_keeping(self, runs: Sequence[str]) -> None:
        """Of runs whose records are deleted: nothing of them is kept any more."""
        for collection in COLLECTIONS.values():
            await self._store.delete(collection, *map(record_key, runs))
        await asyncio.gather(*(end_run(self._store, run) for run in runs))

    async def _logs_of(self, collection: str, run: str) -> list[str]:
        return [item.key async for item in list_all(self._store, collection, f"logs/{run}/")]

    async def save(self, kind: RecordKind[S], states: Sequence[S]) -> None:
        uploads = [Upload(_record_key(one.identity), one.model_dump_json().encode(), tags=EXPIRING) for one in states]
        await self._store.put_many(kind.collection, uploads)

    async def load(self, kind: RecordKind[S], identity: str) -> S | None:
        """One that has ended; None if there is none (any more) under that id."""
        return await self._load(kind.collection, _record_key(identity), kind.state)

    async def newest(self, kind: RecordKind[S], limit: int) -> list[S]:
        """Those that have ended, as they are kept, the newest first."""
        ids = [item.key.partition("/")[2] async for item in list_all(self._store, kind.collection, _record_key(""))]
        ids.sort(key=lambda one: age_of(one) or 0.0)
        found: list[S | None] = []
        for start in range(0, min(limit, len(ids)), _READ_AT_ONCE):
            some = ids[start : min(start + _READ_AT_ONCE, limit)]
            found += await asyncio.gather(*(self.load(kind, one) for one in some))
        return [one for one in found if one is not None]

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
            return _parsed(collection, key, await self._store.get(collection, key), model)
        except NotFound:
            return None


def _parsed(collection: str, key: str, data: bytes, model: type[_M]) -> _M | None:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if not is_odd(error):
            raise
        _log.warning("%s in %s is passed over, it was made of an odd event: %s", key, collection, error)
        return None


def _task_of(state: RunState) -> Task:
    return state.work.task if state.work is not None else "execution"


async def _dump(snapshot: Snapshot) -> bytes:
    """Its JSON, written piece by piece: of a hundred thousand runs it takes a second, and others want the loop."""
    head = snapshot.model_dump_json(exclude={"runs"})
    runs: list[str] = []
    for start in range(0, len(snapshot.runs), _DUMPED_AT_ONCE):
        runs += [state.model_dump_json() for state in snapshot.runs[start : start + _DUMPED_AT_ONCE]]
        await asyncio.sleep(0)
    return f'{head[:-1]},"runs":[{",".join(runs)}]}}'.encode()


def is_old(run: str) -> bool:
    """Whether those who remember runs may have forgotten it."""
    age = age_of(run)
    return age is None or age > OLD_SECS


def _run_key(run: str) -> str:
    return f"runs/{run}"


def _record_key(identity: str) -> str:
    return f"records/{identity}"


def _rows_key(number: int) -> str:
    return f"rows/{number:09d}"
