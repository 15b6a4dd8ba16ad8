"""What every route handler can use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from messages.base import Event
from services.gateway.http.audit import Auditor
from services.gateway.http.callers import CallerOf, everybody
from services.gateway.http.concurrency import Turnstile
from services.gateway.http.event_ids import EventIds
from services.gateway.http.front import Door
from services.gateway.http.idempotency import Keys
from services.gateway.http.metrics import Metrics
from services.gateway.http.patience import Patience
from services.gateway.views.algorithms import KnownAlgorithms
from services.gateway.views.answers import Answers
from services.gateway.views.catalog import Catalog
from services.gateway.views.files import FileIndex
from services.gateway.views.kept_runs import KeptRuns
from services.gateway.views.queue_sampler import Sampler
from services.gateway.views.rest import ShownRecords
from services.gateway.views.runs import LiveRun, LiveView
from services.gateway.views.stored_bytes import StoredBytes
from services.gateway.views.visibility import FileSight
from services.gateway.views.workers import Workers
from services.gateway.volumes.slices import Looking
from shared.bus.base import Bus
from shared.bus.limits import check_first
from shared.checkpoints import KnownCheckpoints
from shared.control.passwords import Hasher
from shared.control.view import ControlView
from shared.objects.base import ObjectStore
from shared.records.fold import RunState
from shared.records.view import Heard
from shared.room import BoundlessRoom, Room
from shared.samples import KnownSamples
from shared.settings import Settings
from voxloom.models import Status, Waiting


@dataclass(frozen=True)
class Description:
    """What the server offers."""

    openapi: bytes = b""
    """JSON."""
    docs: bytes = b""
    """The same as HTML, for people."""


@dataclass(eq=False)
class Context:
    settings: Settings
    bus: Bus
    store: ObjectStore
    catalog: Catalog
    view: LiveView
    answers: Answers
    algorithms: KnownAlgorithms
    files: FileSight
    index: FileIndex
    stored: StoredBytes
    kept_runs: KeptRuns
    looking: Looking
    samples: KnownSamples
    checkpoints: KnownCheckpoints
    keys: Keys
    queues: Sampler
    workers: Workers
    metrics: Metrics
    catch_up: Callable[[], Awaitable[None]]
    """Waits until the views know all that was said before. Raises BusUnavailable."""
    is_caught_up: Callable[[], bool]
    """Whether they do, as far as that is known at once."""
    ready: Callable[[], Awaitable[Sequence[str]]]
    """What keeps the gateway from being ready; nothing when it is."""
    room: Room = field(default_factory=BoundlessRoom)
    caller_of: CallerOf = everybody
    door: Door | None = None
    control: ControlView | None = None
    """Of a server that asks who people are."""
    auditor: Auditor | None = None
    event_ids: EventIds = field(default_factory=EventIds)
    hasher: Hasher = field(default_factory=Hasher)
    patience: Patience = field(default_factory=Patience)
    turnstile: Turnstile = field(default_factory=Turnstile)
    shown: ShownRecords = field(default_factory=ShownRecords)
    entering: Counter[str] = field(default_factory=Counter)
    """By project: runs that are just being asked for."""
    arriving: Counter[str] = field(default_factory=Counter)
    """By project: bytes of uploads under way."""
    news_readers: int = 0
    """Clients that follow all runs just now."""
    describe: Callable[[], Description] = Description
    """Takes a quarter of a second when it is asked first: not on the loop."""

    def heard_of(self, run: LiveRun, log: str | None = None) -> Heard:
        """What a record shows of a run beside its state; `log` as far as the caller has it."""
        return Heard(log, run.progress, run.told, self.waiting(run.state))

    def waiting(self, state: RunState) -> Waiting | None:
        """Why a run has not begun yet, as far as that can be seen from here."""
        if state.status is Status.PENDING:
            limits = None if self.control is None else self.control.directory.limits(state.project)
            at_once = None if limits is None else limits.runs_at_once
            return self.view.lines.why(state.run, self.workers.offers(), at_once)
        held = state.stage.incarnation if state.stage and state.status is Status.STARTED else None
        return Waiting(reason="worker_away") if held is not None and self.workers.is_away(held) else None

    async def publish(self, event: Event) -> None:
        """Says something, and knows it as soon as it is kept: what was answered can be read at once. Raises TooLarge
        where what is to be said later of the same would not fit."""
        check_first(event)
        await self.bus.publish(event)
        self.view.apply(0, event)
        self.kept_runs.hear(event)


CONTEXT = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    return request.app[CONTEXT]
