"""The recorder: the only writer of run records.

Consumes every lifecycle event of executions and deploys, and `scheduler.started`; publishes `scheduler.admitted`.
An event is settled once the segment that holds it is in the store; a run's own object is written behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messages.base import Event
from messages.scheduler import SchedulerAdmitted, SchedulerStarted
from shared.bus import topology
from shared.records.ledger import Ledger, review
from shared.records.store import AnotherWriter, RecordStore
from shared.service import Platform, Service
from voxloom.errors import Unavailable
from voxloom.models import utc_now

WRITE_BEHIND = 200
"""Own objects per write."""
GATHER_SECS = 0.1
"""Ended runs wait so long for others to be written with."""
SNAPSHOT_SECS = 10.0
SEGMENTS_PER_SNAPSHOT = 500
RETRY_SECS = 1.0


class Recorder(Service):
    name = "recorder"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._records = RecordStore(platform.store)
        self._ledger = Ledger()
        self._loaded = False
        self._snapshot_segment = 0
        self._to_write = asyncio.Event()

    async def on_start(self) -> None:
        self.keep(await self.bus.consume(topology.RECORDER, self.record))
        self.spawn("write-behind", self._write_behind())
        self.spawn("snapshots", self._keep_snapshots())

    async def on_stop(self) -> None:
        if self._loaded:
            await self._write_ended()
            await self._snapshot()

    async def record(self, events: Sequence[Event]) -> None:
        """Stores a batch of events as one segment, takes them in, admits new schedulers."""
        if not self._loaded:
            await self._load()
        epoch, good = review(self._ledger.epoch, events)
        if len(good) < len(events):
            self.log.warning("refused %d decisions of a scheduler that is no longer in charge", len(events) - len(good))
        if not good:
            return
        number = self._ledger.segment + 1
        await self._append(number, good)
        self._ledger.apply(number, epoch, good)
        self._to_write.set()
        for event in good:
            if isinstance(event, SchedulerStarted):
                await self._admit(event.subject)

    async def _load(self) -> None:
        # Only now: whoever is served by a single-active queue is alone, and whoever was before has written its last.
        self._ledger = await self._records.load_ledger()
        self._snapshot_segment = self._ledger.segment
        self._loaded = True
        self._to_write.set()

    async def _append(self, number: int, events: Sequence[Event]) -> None:
        try:
            await self._records.append(number, events)
        except AnotherWriter as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            raise

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
                self.log.warning("records wait in memory and segments: %s", error)
                self._to_write.set()
                await asyncio.sleep(RETRY_SECS)

    async def _write_ended(self) -> None:
        while states := self._ledger.to_store(WRITE_BEHIND):
            await self._records.save_runs(states)
            self._ledger.stored(states)
        if deploys := self._ledger.deploys_to_store():
            await self._records.save_deploys(deploys)
            self._ledger.deploys_stored(deploys)

    async def _keep_snapshots(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + SNAPSHOT_SECS
        while True:
            await asyncio.sleep(1.0)
            behind = self._ledger.segment - self._snapshot_segment
            if behind > 0 and (loop.time() >= due or behind >= SEGMENTS_PER_SNAPSHOT):
                try:
                    await self._snapshot()
                except Unavailable as error:
                    self.log.warning("no snapshot for now: %s", error)
                due = loop.time() + SNAPSHOT_SECS

    async def _snapshot(self) -> str:
        """Writes full blocks of rows, then the snapshot that names them, then drops what it covers."""
        while (block := self._ledger.full_block()) is not None:
            number = self._ledger.blocks[-1] + 1 if self._ledger.blocks else 0
            await self._records.save_rows(number, block)
            self._ledger.block_stored(number)
        self._ledger.forget(utc_now())
        snapshot = self._ledger.snapshot(utc_now())
        key = await self._records.save_snapshot(snapshot)
        await self._records.drop_before(key, snapshot.segment)
        self._snapshot_segment = snapshot.segment
        return key
