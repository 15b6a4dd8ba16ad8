"""Ingest: the only one who says that a file is good, and who takes files away.

consumes   file.uploaded            → file.committed | file.rejected
           file.delete-requested    → file.deleted | file.delete-refused
           sample.created: its files do not expire any more
           execution.completed | failed | stopped: what its attempts have posted in vain is removed
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from messages.base import Event
from messages.files import (
    FileCommitted,
    FileDeleted,
    FileDeleteRefused,
    FileDeleteRequested,
    FileRejected,
    FileUploaded,
)
from messages.runs import RunCompleted, RunFailed, RunStopped
from messages.samples import SampleCreated
from services.ingest.holding import hold_files, hold_sample
from services.ingest.housekeeping import sweep_forgotten, sweep_late, sweep_uploads
from services.ingest.inspectors import Inspectors, refused
from shared import files, keeping
from shared.bus import topology
from shared.bus.limits import check_first
from shared.file_names import is_upload_of
from shared.objects.base import EXPIRING, FileUpload
from shared.outages import waiting
from shared.records.store import RecordStore
from shared.samples import KnownSamples
from shared.service import Platform, Service
from voxloom.errors import Damaged, InvalidInput, NotFound, StoreFull, TooLarge, Unavailable, VoxloomError
from voxloom.models import DatasetInfo, RunError, utc_now

UPKEEP_SECS = 3600.0


class Ingest(Service):
    name = "ingest"
    keeps_house = True

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._records = RecordStore(self.store)
        self._samples = KnownSamples(self.store)
        self._inspectors = Inspectors(
            most=min(topology.INGEST.concurrency, max(2, os.cpu_count() or 1)),
            memory=self.settings.inspect_memory,
            timeout=self.settings.inspect_timeout,
            limit=self.settings.max_dataset_bytes,
        )

    async def on_start(self) -> None:
        await self._inspectors.warm_up()
        self.keep(await self.bus.consume(topology.INGEST, self.handle))
        self.keep(await self.bus.consume(topology.SWEEPER, self.sweep))
        self._clock = await self.store.expiry_clock()
        self.spawn("upkeep", self._keep_up())

    async def on_stop(self) -> None:
        await self._inspectors.close()

    async def handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, FileUploaded):
                if not event.staged or is_upload_of(event.project, event.subject, event.staged):
                    await self._take_in(event)
                else:  # It would be removed afterwards, whatever it is.
                    await self._refuse_place(event)
            elif isinstance(event, FileDeleteRequested):
                await self.bus.publish(await self._delete(event))
            elif isinstance(event, SampleCreated):
                await hold_sample(self.store, event.subject)

    async def _delete(self, event: FileDeleteRequested) -> FileDeleted | FileDeleteRefused:
        """Whoever makes a sample, or keeps a file, looks for this note after theirs is written; we look for theirs
        after this one is."""
        await self.room.make_way()
        note = files.deleting_key(event.subject)
        await self.store.put(files.COLLECTION, note, b"", tags=EXPIRING)
        used = await self._samples.using(event.subject)
        if used or (event.expired and await keeping.is_needed(self.store, event.subject)):
            await self.store.delete(files.COLLECTION, note)
            return FileDeleteRefused(subject=event.subject, project=event.project, sample_ids=used)
        await files.remove(self.store, event.subject)
        await keeping.forget_file(self.store, event.subject)
        await self.store.delete(files.COLLECTION, note)
        return FileDeleted(subject=event.subject, project=event.project)

    async def _refuse_place(self, event: FileUploaded) -> None:
        """A gateway of another version has its uploads elsewhere: one of this version may be asked the next time."""
        self.log.warning("file %s: no upload of it lies under %.100r; refused", event.subject, event.staged)
        error = Unavailable("The file cannot be looked into by this version of the server; ask again later.")
        await self.bus.publish(_rejection(event, error))

    async def _take_in(self, event: FileUploaded) -> None:
        if await self._is_answered(event):
            return
        place = self.store.scratch / f"inspect-{secrets.token_hex(8)}"
        try:
            datasets = await self._inspect(event, place)
            if datasets is None or await self._is_answered(event):
                return  # Once more: looking into a large file takes a while.
            event = await self._settle(event, place)
            await self._commit(event, datasets)
        except (InvalidInput, StoreFull, TooLarge) as error:
            if await self._is_answered(event):
                return  # Somebody was faster, so that it was no longer where the event says.
            self.log.info("file %s: %s", event.subject, error.message)
            if not event.staged and await self._is_known(event.subject):
                return  # It was said to be there long ago: whoever says it again takes nothing away.
            await self.room.make_way()  # so that it can be said where the disk is full
            await self._drop(event)
            await self.bus.publish(_rejection(event, error))
        finally:
            await asyncio.to_thread(_unlink, place)

    async def _inspect(self, event: FileUploaded, place: Path) -> list[DatasetInfo] | None:
        """What is in the file; None if these are not the bytes any more that the event speaks of."""
        if event.size > self.settings.max_file_bytes:
            raise InvalidInput(
                f"The file has more than the {self.settings.max_file_bytes} bytes allowed.", code="too_large"
            )
        try:
            source = event.staged or files.bytes_key(event.subject)
            info = await self.store.checkout(files.COLLECTION, source, place)
        except NotFound:
            raise refused("its bytes are not there any more; upload it again") from None
        except Damaged:
            raise refused("its bytes are not those that came any more; look at the disk and upload it again") from None
        return await self._inspectors.inspect(place) if info.etag == event.etag else None

    async def _settle(self, event: FileUploaded, place: Path) -> FileUploaded:
        """Puts bytes that came through a URL where nobody can change them any more."""
        if not event.staged:
            return event
        upload = FileUpload(
            files.bytes_key(event.subject),
            place,
            {"project": event.project},
            EXPIRING,
            digest=await self._staged_digest(event.staged, event.etag),
            settled=True,  # It is what was checked out, which nobody writes to.
        )
        (info,) = await self.store.put_files(files.COLLECTION, [upload])
        return event.model_copy(update={"etag": info.etag, "size": info.size})

    async def _is_answered(self, event: FileUploaded) -> bool:
        """Whether there was something under the id of what was put through a URL: files never change, whoever has made
        them."""
        if not event.staged:
            return False
        try:
            found = await files.locate(self.store, event.subject)
        except NotFound:
            return False
        if found.project != event.project:  # A moment ago, or a gateway of an earlier version would have looked.
            await self.bus.publish(_rejection(event, Unavailable("The file's id was taken just now; ask again.")))
            return True
        if found.run is not None:
            await self._drop(event)
            error = InvalidInput("There is a file of that name already; choose another name.", code="file_exists")
            await self.bus.publish(_rejection(event, error))
            return True
        known = await files.find_entry(self.store, event.subject)
        if known is not None:  # Somebody was faster, or has put other bytes since.
            await self.store.delete(files.COLLECTION, event.staged)
            await self.bus.publish(_committed(known))
        return known is not None

    async def _is_known(self, file_id: str) -> bool:
        """Whether it is an upload that was good, or what a run has made."""
        try:
            found = await files.locate(self.store, file_id)
        except NotFound:
            return False
        return found.committed or found.run is not None

    async def _staged_digest(self, key: str, etag: str) -> str | None:
        """None where it is not known: it is computed then."""
        try:
            info = await self.store.head(files.COLLECTION, key)
        except NotFound:
            return None
        return info.digest if info.etag == etag else None

    async def _drop(self, event: FileUploaded) -> None:
        if event.staged:
            await self.store.delete(files.COLLECTION, event.staged)
        else:
            await files.remove(self.store, event.subject)

    async def _commit(self, event: FileUploaded, datasets: list[DatasetInfo]) -> None:
        entry = files.FileEntry(
            file_id=event.subject,
            project=event.project,
            size=event.size,
            etag=event.etag,
            time=utc_now(),
            datasets=datasets,
        )
        committed = _committed(entry)
        check_first(committed)
        await files.commit(self.store, entry)
        if event.staged:  # Until now it waits there, for whoever asks meanwhile, and should this process die.
            await self.store.delete(files.COLLECTION, event.staged)
        await self.bus.publish(committed)

    async def sweep(self, events: Sequence[Event]) -> None:
        """Removes what no attempt that counts has posted. Doing it again finds nothing."""
        for event in events:
            if isinstance(event, RunCompleted | RunFailed | RunStopped) and event.may_have_left_files:
                keep = event.attempt if isinstance(event, RunCompleted) else None
                removed = await files.sweep(self.store, event.subject, keep_attempt=keep)
                if removed:
                    self.log.info("run %s: %d files that it left behind are removed", event.subject, removed)

    async def _keep_up(self) -> None:
        while True:
            await self.keep_up(utc_now(), self._clock.moment())
            await asyncio.sleep(UPKEEP_SECS)

    async def keep_up(self, now: datetime, expiry: datetime | None = None) -> None:
        """One round of upkeep; what the store cannot do now is done the next time. What is removed goes by the clock
        of `expiry`, which may be behind."""
        old = expiry or now
        try:
            await keeping.restore(self.store, self._samples)
            removed = await sweep_forgotten(self.store, old) + await sweep_uploads(self.store, old)
            snapshot = await self._records.load_snapshot()
            if snapshot is not None:
                await hold_files(self.store, snapshot.runs, self._samples, now, snapshot.time)
                removed += await sweep_late(self.store, self._records, {run.run for run in snapshot.runs}, old)
        except Unavailable as error:
            self.log.warning("upkeep of files has to wait: %s", error, extra=waiting(error))
            return
        if removed:
            self.log.info("%d files that nobody can ever see are removed", removed)


def _committed(entry: files.FileEntry) -> FileCommitted:
    return FileCommitted(
        subject=entry.file_id, project=entry.project, size=entry.size, etag=entry.etag, datasets=entry.datasets
    )


def _rejection(event: FileUploaded, error: VoxloomError) -> FileRejected:
    return FileRejected(
        subject=event.subject,
        project=event.project,
        error=RunError(type=type(error).__name__, message=error.message, code=error.code, retryable=error.retryable),
    )


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
