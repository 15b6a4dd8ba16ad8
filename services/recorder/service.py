"""The recorder: the only writer of run records.

Consumes every lifecycle event of runs, all events of the other kinds of records (shared/records/registry.py),
`record.delete-requested` and `scheduler.started`; publishes `record.deleted`, `record.kept` of what was to be deleted
and somebody keeps, and `scheduler.admitted`.
An event is settled once the segment that holds it is in the store; the records of ended runs are written behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from messages.base import Event
from messages.records import RecordsDeleted, RecordsDeleteRequested, RecordsKept
from messages.runs import RunRequested
from messages.scheduler import SchedulerAdmitted, SchedulerStarted
from services.recorder.sparing import spare
from shared.bus import topology
from shared.bus.base import Subscription
from shared.expiry import ExpiryClock
from shared.journal import AnotherWriter, DamagedJournal
from shared.outages import waiting
from shared.records.ledger import Ledger, living, review
from shared.records.store import RecordStore
from shared.service import MadeWay, Platform, Service
from voxloom.errors import Unavailable
from voxloom.ids import new_id
from voxloom.models import utc_now

WRITE_BEHIND = 200
"""Records per write."""
DELETED_AT_ONCE = 2000
"""Runs whose records are removed together: what they lie in is written anew once."""
_LOOKED_UP_AT_ONCE = 50
GATHER_SECS = 1.0
"""Ended runs wait so long for others to be written with."""
SEARCH_SECS = 60.0
"""How often to ask whether blocks are to be searched for rows of deleted runs."""
SNAPSHOT_SECS = 10.0
SEGMENTS_PER_SNAPSHOT = 500
SNAPSHOT_SHARE = 0.05
"""Snapshots may take so much of the time."""
ALONE_SECS = 1.0
"""Within so long of a write that was good nobody else can have taken over and removed what it wrote."""
RETRY_SECS = 1.0
CLOCK_SECS = 600.0
"""How often the clock of expiry is kept."""


class Recorder(Service):
    name = "recorder"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._records = RecordStore(platform.store)
        self._ledger = Ledger()
        self._clock = ExpiryClock(time.time())
        self._loaded = False
        self._served: Subscription | None = None
        self._beginnings = 0
        self._alone_at = 0.0
        self._snapshot_segment = 0
        self._snapshot_secs = 0.0
        self._snapshotting = asyncio.Lock()
        self._to_write = asyncio.Event()

    async def on_start(self) -> None:
        self._served = self.keep(await self.bus.consume(topology.RECORDER, self.record))
        self.spawn("write-behind", self._write_behind())
        self.spawn("snapshots", self._keep_snapshots())
        self.spawn("search", self._keep_searching())
        self.spawn("expiry", self._keep_clock())

    async def on_stop(self) -> None:
        if not self._loaded or self.failed.done():
            return
        try:
            await self._write_ended()
            await self._snapshot()
        except Unavailable as error:
            self.log.warning("the records stay in their segments until the next start: %s", error)
        except AnotherWriter:
            self.log.info("the next recorder is at work already")

    def figures(self) -> Mapping[str, float]:
        """Of a standby all are 0."""
        return {
            "recorder_segment": self._ledger.segment,
            "recorder_segments_since_snapshot": self._ledger.segment - self._snapshot_segment,
            "recorder_snapshot_seconds": self._snapshot_secs,
        }

    async def record(self, events: Sequence[Event]) -> None:
        """Stores a batch of events as one segment, takes them in, admits new schedulers."""
        if self.failed.done():
            raise MadeWay("this recorder has ended and writes nothing any more")
        try:
            await self._record(events)
        except AnotherWriter as error:
            left = self._judged(error)
            self.fail(left)
            raise left from error
        except DamagedJournal as error:
            self.fail(error)
            raise

    def _judged(self, error: AnotherWriter) -> Exception:
        """While this one was cut off, another may have been served; else there are two that write."""
        if self._served is not None and self._served.beginnings != self._beginnings:
            return MadeWay(f"another recorder has written while this one was cut off from the broker ({error})")
        return error

    async def _record(self, events: Sequence[Event]) -> None:
        if not self._loaded:
            await self._load()
        epoch, good = review(self._ledger.epoch, events)
        if len(good) < len(events):
            self.log.warning("refused %d decisions of a scheduler that is no longer in charge", len(events) - len(good))
        good = await self._without_spent(good)
        if not good:
            return
        spared: list[RecordsKept] = []
        if any(isinstance(event, RecordsDeleteRequested) for event in good):
            await self.room.make_way()
            good, spared = await spare(self.store, [await self._within_project(event) for event in good])
        number = self._ledger.segment + 1
        await self._append(number, good)
        self._ledger.apply(number, epoch, good)
        self._to_write.set()
        await self._tell_spared(spared)
        for event in good:
            if isinstance(event, SchedulerStarted):
                await self._admit(event.subject)

    async def _tell_spared(self, news: Sequence[RecordsKept]) -> None:
        for event in news:
            self.log.info("%d runs of project %s are kept, and stay", len(event.runs), event.project)
            await self.bus.publish(event)

    async def _without_spent(self, events: list[Event]) -> list[Event]:
        """A request that comes again long after its run has ended must not make its record anew."""
        spent = await self._records.spent(events, self._ledger.remembers)
        if spent:
            self.log.warning("%d runs are asked for again that have ended; that is ignored", len(spent))
        return [one for one in events if not (isinstance(one, RunRequested) and one.subject in spent)]

    async def _within_project(self, event: Event) -> Event:
        """Of what is to be deleted, the runs of the project that asks. What has no record (any more) is nobody's."""
        if not isinstance(event, RecordsDeleteRequested):
            return event
        known = self._ledger.projects()
        unsure = [run for run in event.runs if run not in known]
        for start in range(0, len(unsure), _LOOKED_UP_AT_ONCE):
            states = await asyncio.gather(*map(self._records.load_run, unsure[start : start + _LOOKED_UP_AT_ONCE]))
            known |= {state.run: state.project for state in states if state is not None}
        own = [run for run in event.runs if known.get(run, event.project) == event.project]
        if len(own) == len(event.runs):
            return event
        foreign = len(event.runs) - len(own)
        self.log.warning("project %s asks to delete %d runs of others; that is ignored", event.project, foreign)
        return event.model_copy(update={"runs": own})

    async def _load(self) -> None:
        # Only now: whoever is served by a single-active queue is alone, and whoever was before has written its last.
        self._alone_at = time.monotonic()
        self._beginnings = self._served.beginnings if self._served is not None else 0
        self._ledger = await self._records.load_ledger()
        self._snapshot_segment = self._ledger.segment
        self._clock = await self.store.expiry_clock()
        self._loaded = True
        self._to_write.set()

    async def _append(self, number: int, events: Sequence[Event]) -> None:
        begun = time.monotonic()
        await self._records.journal.append(number, events)
        if time.monotonic() - self._alone_at > ALONE_SECS:
            # While we were held up, somebody may have written this number, and removed it under a snapshot.
            await self._records.journal.check_alone(number)
        self._alone_at = begun

    async def _admit(self, instance: str) -> None:
        if instance != self._ledger.epoch.instance:
            return  # a later one has asked in the same breath
        key = await self._snapshot()
        await self.bus.publish(SchedulerAdmitted(subject=instance, epoch=self._ledger.epoch.number, snapshot_key=key))
        self.log.info("admitted scheduler %s under epoch %d", instance, self._ledger.epoch.number)

    async def _write_behind(self) -> None:
        while True:
            await self._to_write.wait()
            await asyncio.sleep(GATHER_SECS)
            self._to_write.clear()
            try:
                await self._write_ended()
            except Unavailable as error:
                self.log.warning("records wait in memory and segments: %s", error, extra=waiting(error))
                self._to_write.set()
                await asyncio.sleep(RETRY_SECS)

    async def _write_ended(self) -> None:
        while states := self._ledger.to_store(WRITE_BEHIND):
            await self._records.save_runs(states)
            self._ledger.stored(states)
        while await self._records.packs.merge():
            pass
        while gone := list(islice(self._ledger.to_delete, DELETED_AT_ONCE)):
            await self._records.delete_runs(gone)
            await self.bus.publish(RecordsDeleted(subject=new_id(), runs=gone))
            self._ledger.were_deleted(gone)
        for shelf in self._ledger.shelves.values():
            if ended := shelf.to_store():
                await self._records.save(shelf.kind, ended)
                shelf.stored(ended)

    async def _keep_snapshots(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            if not self._snapshot_due(time.monotonic() - last):
                continue
            try:
                await self._snapshot()
            except Unavailable as error:
                self.log.warning("no snapshot for now: %s", error, extra=waiting(error))
            except AnotherWriter as error:
                if self.stopping:
                    return  # The next one is served already, and had its snapshot before ours; `on_stop` tells of it.
                raise self._judged(error) from error
            last = time.monotonic()

    def _snapshot_due(self, age: float) -> bool:
        """Whether it is time for a snapshot, `age` seconds after the last one."""
        behind = self._ledger.segment - self._snapshot_segment
        if behind == 0 or age < self._snapshot_secs / SNAPSHOT_SHARE:
            return False
        return age >= SNAPSHOT_SECS or behind >= SEGMENTS_PER_SNAPSHOT

    async def _snapshot(self) -> str:
        """Writes full blocks of rows, then the snapshot that names them, then drops what it covers. One at a time: two
        would write the same rows."""
        async with self._snapshotting:
            begun = time.monotonic()
            self._ledger.forget(self._expired())
            await self._write_full_blocks()
            snapshot = self._ledger.snapshot(utc_now())
            key = await self._records.save_snapshot(snapshot)
            await self._records.journal.drop_before(key, snapshot.segment)
            await self._remove_retired()
            self._snapshot_segment = snapshot.segment
            self._snapshot_secs = time.monotonic() - begun
            return key

    async def _write_full_blocks(self) -> None:
        while (block := self._ledger.full_block()) is not None:
            number = await self._records.save_rows(self._ledger.next_block(), block)
            self._ledger.block_stored(number, block)

    async def _remove_retired(self) -> None:
        """After a snapshot that does not name them has been written."""
        if numbers := self._ledger.to_remove():
            await self._records.remove_rows(numbers)
            self._ledger.removed(numbers)

    def _expired(self) -> datetime | None:
        """What ended before has no record any more."""
        days = self.settings.execution_expire_days
        return None if days is None else self._clock.moment() - timedelta(days=days)

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECS)
            try:
                if self._loaded:
                    await self.store.keep_expiry_clock()
            except Unavailable as error:
                self.log.warning("the clock of expiry could not be kept: %s", error, extra=waiting(error))

    async def _keep_searching(self) -> None:
        while True:
            await asyncio.sleep(SEARCH_SECS)
            try:
                await self._search_blocks()
            except Unavailable as error:
                self.log.warning(
                    "rows of deleted records stay in their blocks for now: %s", error, extra=waiting(error)
                )

    async def _search_blocks(self) -> None:
        """Rids them of rows of deleted runs, so that nobody has to remember those for ever. Others have their turns in
        between."""
        runs = self._ledger.to_search_for()
        if not runs:
            return
        async with self._snapshotting:  # A block under way is to be among them.
            blocks = list(self._ledger.blocks)
        for number in blocks:
            async with self._snapshotting:
                await self._search_block(number)
        self._ledger.searched_for(runs)

    async def _search_block(self, number: int) -> None:
        rows = await self._records.load_rows([number])
        left = living(rows, self._expired(), self._ledger.deleted)
        if rows and len(left) == len(rows):
            return
        # Without rows: it has expired.
        self._ledger.dissolve(number, left)
        await self._write_full_blocks()
