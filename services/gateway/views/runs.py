"""What the gateway knows of runs: a view folded from the event stream, with those who wait for news. The records of
other kinds have views of their own within it.

Runs that have not ended are all here; of the others the newest, the rest comes from the record store when asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from messages.base import Event
from messages.records import RecordsDeleted, RecordsDeleteRequested, RecordsKept
from messages.runs import (
    RunEvent,
    RunLogged,
    RunProgressed,
    RunRequested,
    RunStateSet,
)
from messages.scheduler import SchedulerAdmitted
from services.gateway.views.arrivals import VIEW_SECS, Arrivals
from services.gateway.views.catalog import Catalog, Listed
from services.gateway.views.deletions import DeletedRuns
from services.gateway.views.doubts import Doubts
from services.gateway.views.ended_runs import EndedRuns
from services.gateway.views.live_logs import LiveLog
from services.gateway.views.queue_positions import WaitingLines
from services.gateway.views.records import RecordView
from shared.outages import waiting
from shared.records.fold import RunState, fold, ignored, is_foreign
from shared.records.kinds import RecordKind, S
from shared.records.ledger import DECISIONS, Snapshot
from shared.records.registry import KINDS
from shared.records.store import RecordStore, is_old
from shared.records.view import shown_progress
from voxloom.errors import Unavailable, VoxloomError

_log = logging.getLogger("voxloom.gateway")
AGAIN_SECS = 1.0
STATUSES_KEPT = 64
"""Changes of status that one slow watcher may be behind."""


@dataclass(slots=True, eq=False)
class LiveRun(Listed):
    """A run, and who waits for it. `offset` is the stream's at its last change of status; 0 where that is not known."""

    offset: int = 0
    log: LiveLog | None = None
    told: dict[str, Any] = field(default_factory=dict)
    """What its author's code has said of itself lately."""
    ended: asyncio.Future[None] | None = None
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def shown_progress(self) -> float:
        return shown_progress(self.state, self.progress)

    def notify(self) -> None:
        for watcher in self.watchers:
            watcher.news.set()


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who follows one run: `news` is set when there is something new, of whichever kind. Changes of status
    queue up; progress and log are read from the run when the watcher gets to it, so a slow one costs nothing."""

    run: LiveRun
    news: asyncio.Event = field(default_factory=asyncio.Event)
    statuses: deque[tuple[int, RunState]] = field(default_factory=lambda: deque(maxlen=STATUSES_KEPT))


class Spared(NamedTuple):
    """Runs that stay, and whose they are; None: whatever their records say."""

    runs: Sequence[str]
    project: str | None


class LiveView:
    def __init__(self, records: RecordStore, catalog: Catalog) -> None:
        self._records = records
        self._catalog = catalog
        self._running: dict[str, LiveRun] = {}
        self._ended: dict[str, LiveRun] = {}
        self._line = EndedRuns()
        self._views: dict[str, RecordView[Any]] = {kind.name: RecordView(kind, records) for kind in KINDS}
        self._arrivals = Arrivals()
        self._deleted = DeletedRuns()
        self.doubts = Doubts()
        self._spared: asyncio.Queue[Spared] = asyncio.Queue()
        self.lines = WaitingLines()
        self._epoch = 0
        self._closed = False
        self.newest = 0
        """The offset up to which the stream has been heard."""

    @property
    def closed(self) -> bool:
        """The server stops: nobody shall wait for news any more."""
        return self._closed

    def close(self) -> None:
        self._closed = True
        for run in [*self._running.values(), *self._ended.values()]:
            if run.ended is not None and not run.ended.done():
                run.ended.set_result(None)
            run.notify()

    @property
    def unfinished(self) -> int:
        return len(self._running)

    def unfinished_runs(self) -> list[str]:
        """Those that are not known to have ended, the oldest first."""
        return sorted(self._running)

    def of(self, kind: RecordKind[S]) -> RecordView[S]:
        """What is known of the records of another kind."""
        return self._views[kind.name]

    def restore(self, snapshot: Snapshot) -> None:
        """Takes in what the recorder knew; the stream says the rest."""
        self._epoch = max(self._epoch, snapshot.epoch.number)
        for state in snapshot.runs:
            run = LiveRun(state)
            self._place(run)
            self.lines.note(state)
            self._catalog.touch(run)
        for kind in KINDS:
            self.of(kind).restore(snapshot.of(kind))
        self._delete(snapshot.deleted)
        self._deleted.removed(set(snapshot.deleted).difference(snapshot.to_delete))

    # --- hearing ------------------------------------------------------------------------------------------

    def pass_over(self, offset: int) -> None:
        """There was an event of the stream that says nothing that is shown."""
        self.newest = offset

    def apply(self, offset: int, event: Event) -> None:
        """Takes in one event of the stream, or one of our own (`offset` 0) that was just published."""
        self.newest = offset or self.newest
        if isinstance(event, RunEvent):
            self._apply_to_run(offset, event)
        elif (view := self._views.get(event.entity)) is not None:
            view.apply(event)
        elif isinstance(event, RecordsDeleteRequested):
            self._hear_of_deletion(offset, event)
        elif isinstance(event, RecordsDeleted):
            self._delete(event.runs)
            self._deleted.removed(event.runs)
            self.doubts.settle(event.runs)
        elif isinstance(event, RecordsKept) and event.spared:
            self._spared.put_nowait(Spared(event.runs, event.project))
        elif isinstance(event, SchedulerAdmitted):
            self._epoch = max(self._epoch, event.epoch)

    def _apply_to_run(self, offset: int, event: Event) -> None:
        if self.is_outdated(event):
            return
        run = self._running.get(event.subject) or self._ended.get(event.subject)
        if run is None:
            if event.subject in self._deleted or self._catalog.has_ended(event.subject):
                return
            run = LiveRun(fold(None, event), offset=offset)
            self._place(run)
            self.lines.note(run.state)
            self._changed(run)
        elif isinstance(event, RunRequested) and run.state.work is not None:
            if run.state.stage is None:  # else its newest status stands further on
                run.offset = run.offset or offset
        elif is_foreign(run.state, event):
            _log.warning("%s", ignored(event, run.state.project))
        else:
            self._advance(run, offset, event)

    def is_outdated(self, event: Event) -> bool:
        """Whether it was said by a scheduler that is no longer in charge."""
        return isinstance(event, DECISIONS) and event.epoch < self._epoch

    def _advance(self, run: LiveRun, offset: int, event: Event) -> None:
        before, run.state = run.state, fold(run.state, event)
        if run.state is before:
            self._place_in_stream(run, offset, event)
            return
        if run.state.stage is not before.stage:
            self._moved(run, offset)
        self._changed(run)

    def _moved(self, run: LiveRun, offset: int) -> None:
        """To another status, at this offset of the stream."""
        run.offset = offset
        self.lines.note(run.state)
        for watcher in run.watchers:
            watcher.statuses.append((offset, run.state))
        if run.state.ended:
            self._place(run)

    def _place_in_stream(self, run: LiveRun, offset: int, event: Event) -> None:
        """Of a run that was restored, the stream says where its newest status stands."""
        if not run.offset and run.state.stage is not None and run.state.stage.rank.event_id == event.id:
            run.offset = offset

    def _changed(self, run: LiveRun) -> None:
        self._catalog.touch(run)
        run.notify()

    def _place(self, run: LiveRun) -> None:
        """Puts a run where it belongs, and tells those who wait for that."""
        name = run.state.run
        if not run.state.ended or run.state.work is None:
            self._running[name] = run
        else:
            self._running.pop(name, None)
            self._ended[name] = run
            run.progress, run.log, run.told = run.shown_progress, None, {}
            if run.ended is not None and not run.ended.done():
                run.ended.set_result(None)
            self._let_go(self._line.put(run.state))
        if run.state.work is not None:
            self._arrivals.note(name)

    def trim(self) -> None:
        """Lets go of what was kept only because it was new."""
        self._let_go(self._line.excess())
        self._deleted.trim()

    def _let_go(self, runs: Iterable[str]) -> None:
        for run in runs:
            self._ended.pop(run, None)

    def _may_delete(self, run: str, event: Event) -> bool:
        """Not what is another project's."""
        known = self._ended.get(run)
        project = known.state.project if known is not None else self._catalog.project_of(run)
        if project in (None, event.project):
            return True
        _log.warning("project %s asks to delete the run %s, which is %s's; it is ignored", event.project, run, project)
        return False

    def _hear_of_deletion(self, offset: int, event: RecordsDeleteRequested) -> None:
        if event.unless_kept and not offset:
            return  # The stream says it, too, and may have said already what has become of it.
        gone = self._delete([run for run in event.runs if self._may_delete(run, event)])
        if event.unless_kept:
            self.doubts.raise_of(gone)
        else:  # Somebody has named them: they go, even if somebody keeps them.
            self.doubts.settle(gone)

    def _delete(self, runs: Sequence[str]) -> list[str]:
        """Forgets the records of these, but for what has not ended. Returns which."""
        gone = [run for run in runs if run not in self._running]
        for run in gone:
            self._ended.pop(run, None)
        self._catalog.delete(gone)
        self._deleted.add(gone)
        return gone

    def give_up_doubts(self) -> None:
        """Nobody may ever say what becomes of these runs: who has a record stays until its deletion is heard of."""
        self._spared.put_nowait(Spared(self.doubts.runs(), None))

    async def keep_bringing_back(self) -> None:
        """Without end: runs that were forgotten when they were to be deleted, and that stay, since somebody keeps
        them."""
        while True:
            spared = await self._spared.get()
            try:
                for run in spared.runs:
                    await self._bring_back(run, spared.project)
            except Unavailable as error:
                _log.warning("runs that stay are not back in lists yet: %s", error, extra=waiting(error))
                self._spared.put_nowait(spared)
                await asyncio.sleep(AGAIN_SECS)
                continue
            except (ValueError, VoxloomError):  # It is damaged, or of a newer version: no reason to end the gateway.
                _log.exception("some of %d runs that stay are in no list until the next start", len(spared.runs))
            self.doubts.settle(spared.runs)

    async def _bring_back(self, run: str, project: str | None) -> None:
        state = await self._records.load_run(run) if run in self.doubts else None
        if run not in self.doubts:
            return  # Somebody has named it, and so it goes all the same.
        if state is not None and state.work is not None and project in (None, state.project):
            self._deleted.forget(run)
            self._place(found := LiveRun(state))
            self._catalog.touch(found)

    def hear(self, event: Event) -> None:
        """Takes in progress and log lines, which count only while their attempt runs."""
        run = self._running.get(event.subject)
        if run is None or event.attempt < run.state.attempt or is_foreign(run.state, event):
            return
        if isinstance(event, RunProgressed) and event.progress > run.progress:
            run.progress = event.progress
            self._changed(run)
        elif isinstance(event, RunStateSet):
            run.told = event.state
            run.notify()
        elif isinstance(event, RunLogged):
            if run.log is None or run.log.attempt < event.attempt:
                run.log = LiveLog(event.attempt)
            if run.log.attempt == event.attempt and run.log.add(event.offset, event.text):
                run.notify()

    # --- asking -------------------------------------------------------------------------------------------

    async def find(self, run: str) -> LiveRun | None:
        """A run whose request is known. One that may still be on its way to us is waited for, and so is what becomes of
        one that goes unless somebody keeps it."""
        await self.doubts.settled_soon(run, within=VIEW_SECS)
        if run in self._deleted:
            return None
        found = self._known(run)
        if found is None and not self._catalog.has_ended(run) and await self._arrivals.expect(run):
            found = self._known(run)
        if found is None:
            state = await self._records.load_run(run)
            if run in self._deleted:
                return None  # It went while it was read.
            found = self._known(run) or (LiveRun(state) if state is not None and state.work is not None else None)
            if found is not None and found.state.ended:
                self._place(found)
        return found

    async def look(self, run: str) -> RunState | None:
        """What the records say of a run if it has ended there, though that was not heard; else what was heard."""
        kept = await self._records.load_run(run)
        found = self._known(run)
        if kept is None or not kept.ended:
            return found.state if found is not None else None
        if found is not None and not found.state.ended:
            found.state = kept
            self._moved(found, 0)
            self._changed(found)
        return kept

    async def knows(self, run: str) -> bool:
        """Whether the request for this run has arrived. Waits for nothing, and reads the records of old ones alone."""
        if run in self._deleted or self._known(run) is not None or self._catalog.has_ended(run):
            return True
        return is_old(run) and await self._records.load_run(run) is not None

    def state_of(self, run: str) -> RunState | None:
        """What is known here and now of a run that has not ended, or did so lately."""
        found = self._known(run)
        return found.state if found is not None else None

    def _known(self, run: str) -> LiveRun | None:
        found = self._running.get(run) or self._ended.get(run)
        return found if found is not None and found.state.work is not None else None

    async def wait_until_ended(self, run: LiveRun, timeout: float) -> None:
        """Returns when the run has ended, or the time is over, or the server stops."""
        if run.state.ended or self._closed:
            return
        if run.ended is None or run.ended.done():
            run.ended = asyncio.get_running_loop().create_future()
        await asyncio.wait([run.ended], timeout=timeout)

    @contextmanager
    def watch(self, run: LiveRun) -> Iterator[Watcher]:
        watcher = Watcher(run)
        run.watchers.append(watcher)
        try:
            yield watcher
        finally:
            run.watchers.remove(watcher)
