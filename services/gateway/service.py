"""The gateway: the one service that people and programs talk to.

Follows the whole event stream and listens to progress, logs and heartbeats, for its views. Publishes what clients ask
for: `file.uploaded`, `file.delete-requested`, `deploy.requested`, `algorithm.delete-requested`, `execution.requested`,
`execution.stop-requested`; and `gateway.started`, to hear when its view is up to date, and `gateway.found-loss`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from aiohttp import web

from messages.base import Event, Kind, Outline
from messages.control import ControlChanged
from messages.files import FileUploaded
from messages.gateways import GatewayStarted
from messages.runs import TASKS, RunFinished
from messages.samples import SampleCreated
from services.gateway.app import add, make_app
from services.gateway.context import Context
from services.gateway.http.address import check_reach, is_open_to_others, shown_host, warning
from services.gateway.http.audit import Auditor
from services.gateway.http.authentication import Authenticator
from services.gateway.http.event_ids import EventIds, sealed_ids
from services.gateway.http.idempotency import Keys
from services.gateway.http.listener import Listener, most_connections
from services.gateway.http.metrics import Metrics
from services.gateway.http.problems import NoHttpNoise
from services.gateway.http.tls import load as load_certificate
from services.gateway.operations.bundles import import_bundles
from services.gateway.operations.outside import speaking
from services.gateway.operations.recovery import ask_again
from services.gateway.operations.retention import keep_letting_go
from services.gateway.views.algorithms import KnownAlgorithms
from services.gateway.views.answers import Answers
from services.gateway.views.catalog import Catalog
from services.gateway.views.files import FileIndex
from services.gateway.views.kept_runs import KeptRuns
from services.gateway.views.overlap import OVERLAP, overlap_with
from services.gateway.views.presigned import Uploads
from services.gateway.views.queue_sampler import Sampler
from services.gateway.views.queues import QueueWatch
from services.gateway.views.runs import LiveView
from services.gateway.views.stored_bytes import StoredBytes
from services.gateway.views.visibility import FileSight
from services.gateway.views.workers import Workers
from services.gateway.volumes.slices import Looking
from shared.audit.doing import Doing
from shared.audit.house import keep_house
from shared.audit.log import AuditLog
from shared.checkpoints import KnownCheckpoints
from shared.control import latch
from shared.control.clock import NeverBack
from shared.control.identities import BY, id_of, welcome
from shared.control.objects import MODE
from shared.control.passwords import Hasher
from shared.control.store import ControlStore
from shared.control.view import ControlView
from shared.keeping import RUNS, KeptRun, notes
from shared.oidc.claims import Proof
from shared.oidc.provider import Provider, check_library, provider_of
from shared.ops import platform_faults
from shared.records.ledger import Snapshot
from shared.records.store import RecordStore
from shared.samples import KnownSamples
from shared.service import Platform, Service
from shared.settings import Settings
from voxloom.errors import Misconfigured, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.values import utc_now

LIVE = (
    *(f"{entity}.{verb}.#" for entity in TASKS for verb in ("progressed", "logged", "state-set")),
    "worker.heartbeat.#",
)
CATCH_UP_SECS = 60.0
BLOCKS_AT_ONCE = 10
SHUTDOWN_SECS = 5.0
"""How long requests may go on once the server stops; what waits for news ends at once."""
IDLE_SECS = 120.0
"""How long a connection may wait for its next request."""
READ_BUFFER = 1 << 18
LONGEST_LINE = 1 << 16
"""Bytes of a request line or header: ids of any length get an answer of ours."""
SWEEP_SECS = 600.0
INIT = "voxloom admin init"
LATCH_SECS = 60.0
"""How often an open gateway looks whether its store is one of a closed server, also where nobody has told it so."""


http_log = logging.getLogger("voxloom.http")
COUNTED = frozenset({RunFinished, FileUploaded, SampleCreated})
"""Classes of events that others answer to. Of these a gateway knows that they were said, for the figures of queues."""


def is_shown(kind: Kind, _subject: str) -> bool:
    """Whether a view needs more of such an event than its headers."""
    return kind.event not in COUNTED


class Gateway(Service):
    name = "gateway"

    def __init__(self, platform: Platform, *, routes: Sequence[web.AbstractRouteDef] = ()) -> None:
        """`routes`: further ones to serve, which the store brings along, say. `url` is known once it has started."""
        super().__init__(platform)
        self._routes = routes
        self._records = RecordStore(platform.store)
        self._catalog = Catalog()
        self._view = LiveView(self._records, self._catalog)
        self._answers = Answers()
        self._checkpoints = KnownCheckpoints(platform.store)
        self._algorithms = KnownAlgorithms(platform.store, self._checkpoints)
        uploads = Uploads(platform.store, self._answers, platform.bus.publish, self.settings.answer_timeout)
        self._files = FileSight(platform.store, self._view, uploads)
        self._index = FileIndex(platform.store, self._files)
        self._stored = StoredBytes(platform.store)
        self._kept_runs = KeptRuns(platform.store)
        self._looking = Looking(platform.store, self.settings)
        self._queues = QueueWatch()
        self._sampler = Sampler(platform.bus, self._queues)
        self._workers = Workers(self.settings.lease)
        self._control = ControlView(ControlStore(platform.store))
        self._audit = Auditor(AuditLog(platform.store), lambda *whose: self._control.directory.role(*whose))
        self._event_ids = EventIds()
        self._hasher = Hasher()
        self._provider: Provider | None = None
        self._instance = new_id()
        self._caught_up = asyncio.Event()
        self._may_be_closed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @classmethod
    def check(cls, settings: Settings) -> None:
        check_reach(settings)
        if settings.oidc_issuer and settings.auth == "closed":
            check_library()

    async def on_start(self) -> None:
        self.check(self.settings)
        await latch.hold(ControlStore(self.store), self.settings.auth)
        self._clock = await self.store.expiry_clock()
        snapshot = await self._records.load_snapshot()
        await self._load_rows(snapshot)
        since = await self._since(snapshot)
        self._following = await self.bus.follow(self.take, since=since, on_loss=self._on_loss, wanted=is_shown)
        self.keep(self._following)
        self.keep(await self.bus.listen(LIVE, self._hear))
        await self._catch_up()
        await self._know_who_may_what()
        self.spawn("sweep", self._sweep())
        self.spawn("spared", self._view.keep_bringing_back())
        self.spawn("queues", self._sampler.run())
        await self._serve()

    async def _since(self, snapshot: Snapshot | None) -> datetime:
        """From when on the stream has what the snapshot does not. An embedded bus has the same clock."""
        if snapshot is None:
            return datetime.fromtimestamp(0, UTC)
        overlap = await overlap_with(self.bus) if self.settings.broker else OVERLAP
        return datetime.fromtimestamp(0, UTC) if overlap is None else snapshot.time - overlap

    async def stop(self) -> None:
        """HTTP first: who still waits for an answer needs the subscriptions."""
        self._view.close()
        self._answers.give_up()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._hasher.close()
        if self._provider is not None:
            self._provider.close()
        await self._looking.close()
        self._audit.counts.close()
        await self._audit.log.close()
        await super().stop()
        self._catalog.close()

    # --- the view -----------------------------------------------------------------------------------------

    def _on_loss(self) -> None:
        self.spawn("ask-again", ask_again(self.bus, self._instance, self._view))

    async def take(self, events: Sequence[tuple[int, Event]]) -> None:
        for offset, event in events:
            try:
                self._take(offset, event)
            except Exception:
                # One event that cannot be taken in must not end the view of all others: it would come again for ever.
                self.log.exception("the view misses %s of %r", event.type_name, event.subject)

    def _take(self, offset: int, event: Event) -> None:
        if isinstance(event, Outline):
            self._view.pass_over(offset)
            self._queues.hear(event)
            return
        self._view.apply(offset, event)
        self._files.hear(event)
        self._index.hear(event)
        self._stored.hear(event)
        self._queues.hear(event)
        self._workers.hear(event)
        self._kept_runs.hear(event)
        if isinstance(event, ControlChanged):
            self._hear_of_control(event)
        self._algorithms.hear(event)
        if isinstance(event, GatewayStarted) and event.subject == self._instance:
            self._caught_up.set()
        self._answers.hear(event)  # The last, so that whoever waited finds everything else up to date.

    def _hear(self, event: Event) -> None:
        if event.entity == "worker":
            self._workers.hear(event)
        else:
            self._view.hear(event)

    async def _load_rows(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        for start in range(0, len(snapshot.blocks), BLOCKS_AT_ONCE):
            self._catalog.load(await self._records.load_rows(snapshot.blocks[start : start + BLOCKS_AT_ONCE]))
        self._catalog.load(snapshot.rows)
        await self._forget_expired()
        self._view.restore(snapshot)

    async def _catch_up(self) -> None:
        """Waits until the view knows all that was said before now."""
        await self.bus.publish(GatewayStarted(subject=self._instance))
        try:
            async with asyncio.timeout(CATCH_UP_SECS):
                await self._caught_up.wait()
        except TimeoutError:
            raise Unavailable(f"The event stream could not be read within {CATCH_UP_SECS:g} s; try again.") from None

    def _hear_of_control(self, event: ControlChanged) -> None:
        if self.settings.auth == "closed":
            self._control.hear(event)
        else:
            self._may_be_closed.set()

    async def _know_who_may_what(self) -> None:
        if self.settings.auth == "open":
            self.spawn("latch", self._stay_open())
        else:
            self._event_ids = await sealed_ids(self.store, alone=not self.settings.store)
            self._provider = provider_of(self.settings)
            self._control.proofs = self._provider
            await self._control.read_anew()
            if self._provider is not None:
                self.spawn("oidc-keys", self._provider.keep_fresh())
            await self.bus.publish(ControlChanged(subject=self._instance, keys=[MODE]))  # to those that are open
            self.spawn("control", self._control.keep_current())
            self.spawn("stored", self._stored.keep_counting())
            if not self._control.directory.admins:
                self.log.warning("nobody can get in: there is no admin yet; stop the server and type: %s", INIT)

    async def _welcome(self, proof: Proof) -> None:
        """Somebody whom the OpenID provider knows, seen for the first time."""
        told = Doing(self._audit.log, "principal.welcome", actor=BY, subject=id_of(proof.identity))
        await told.begin(f"principals/{told.subject}", f"identities/{proof.identity}")
        keys = await welcome(ControlStore(self.store), self.settings.oidc_issuer, proof, utc_now())
        told.end("done")
        event = ControlChanged(subject=new_id(), keys=sorted(keys))
        self._control.hear(event)
        await self._control.be_current()
        await self.bus.publish(event)

    async def _stay_open(self) -> None:
        """Raises Misconfigured once others have closed the store: what is in it is not for everybody any more."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATCH_SECS):
                    await self._may_be_closed.wait()
            self._may_be_closed.clear()  # first: what is told of while the store is asked is asked about once more
            try:
                await latch.hold(ControlStore(self.store), "open")
            except VoxloomError as error:
                if error.code == latch.CLOSED:
                    raise
                self.log.warning("whether the store is still open to all is not known: %s", error)
                self._may_be_closed.set()
                await asyncio.sleep(1.0)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECS)
            try:
                await self._forget_expired()
            except Unavailable as error:
                self.log.warning("rows of expired runs stay in lists for now: %s", error)
            self._view.trim()
            self._workers.trim()

    async def _forget_expired(self) -> None:
        """All but those that are kept."""
        days = self.settings.execution_expire_days
        if days is not None:
            kept = [note.row async for _, note in notes(self.store, RUNS) if isinstance(note, KeptRun) and note.kept]
            self._catalog.forget_before(self._clock.moment() - timedelta(days=days))
            self._catalog.load(row for row in kept if row is not None)

    # --- HTTP ---------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        if not any(isinstance(one, NoHttpNoise) for one in http_log.filters):
            http_log.addFilter(NoHttpNoise())
        context = Context(
            settings=self.settings,
            bus=self.bus,
            store=self.store,
            catalog=self._catalog,
            view=self._view,
            answers=self._answers,
            algorithms=self._algorithms,
            files=self._files,
            index=self._index,
            stored=self._stored,
            kept_runs=self._kept_runs,
            looking=self._looking,
            samples=KnownSamples(self.store),
            checkpoints=self._checkpoints,
            keys=Keys(self.store),
            queues=self._sampler,
            workers=self._workers,
            metrics=Metrics(),
            catch_up=self._following.catch_up,
            is_caught_up=self._following.is_caught_up,
            ready=self.faults,
            room=self.room,
            event_ids=self._event_ids,
            hasher=self._hasher,
        )
        if self.settings.auth == "closed":
            door = Authenticator(
                self._control,
                is_caught_up=context.is_caught_up,
                catch_up=context.catch_up,
                now=NeverBack().moment,
                provider=self._provider,
                welcome=self._welcome if self.settings.oidc_new_principals else None,
            )
            context.door, context.caller_of, context.control = door, door.caller_of, self._control
            context.auditor = self._audit
            context.metrics.watch_audit(self._audit.log)
            self.spawn("audit", self._audit.log.keep_writing())
            self.spawn("retention", keep_letting_go(context, self._clock))
            self.spawn("audit-house", keep_house(self.store, self._clock, self.settings.audit_expire_days))
        self.spawn("outside", await speaking(context))
        app = make_app(context)
        for route in self._routes:
            add(app, route, "nothing")  # Their URLs are signed by whoever may have what is there.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=http_log,
            auto_decompress=False,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_SECS,
            keepalive_timeout=IDLE_SECS,
            read_bufsize=READ_BUFFER,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        await self._runner.setup()
        await self._listen(self._runner)
        if self.settings.bundles:
            self.spawn("bundles", import_bundles(context))

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.settings.host, self.settings.port
        certificate, key = self.settings.tls_certificate, self.settings.tls_key
        tls = None if certificate is None else await asyncio.to_thread(load_certificate, certificate, key)
        listener = Listener(runner, host, port, most=most_connections(), tls=tls)
        try:
            await listener.start()
        except OSError as error:
            why = (
                "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror or error})"
            )
            raise Misconfigured(
                f"Port {port} on {host} {why}; choose another with --port (0 takes a free one), or stop what uses it."
            ) from error
        self.url = f"{listener.scheme}://{shown_host(host)}:{listener.port}"
        if is_open_to_others(host) and self.settings.auth == "open":
            self.log.warning("%s", warning(self.url, self.settings.open_to))

    async def faults(self) -> list[str]:
        """What keeps the gateway from doing its work; nothing when all is well."""
        faults = await platform_faults(self.platform)
        if not self.ready:
            faults.append("the gateway no longer hears events")
        if self._view.closed:
            faults.append("the server is stopping")
        return faults
