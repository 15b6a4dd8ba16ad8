"""The deployer: the only one who changes algorithms.

    consumes   deploy.requested            → deploy.started, then deploy.completed | failed
               algorithm.delete-requested  → algorithm.deleted | delete-refused

In `deploy-store`, `outcomes/<deploy>` keeps the event a deploy has ended with, and `removals/<request>` says that a
removal has been agreed to: so an event that is delivered again ends as it did the first time. `tries/<deploy>` names
the lives of deployers that have begun it and not come to an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from messages.base import Event
from messages.deploys import (
    AlgorithmDeleted,
    AlgorithmDeleteRefused,
    AlgorithmDeleteRequested,
    DeployCompleted,
    DeployFailed,
    DeployRequested,
    DeployStarted,
)
from messages.packing import pack, unpack
from services.deployer.contents import Contents
from services.deployer.crash_guard import Tries
from services.deployer.descriptions import Described, describe
from services.deployer.import_check import check_importable
from shared.algorithms import add_minor, algorithm_not_found, load_by_id, remove
from shared.bus import topology
from shared.forkserver import ForkServer
from shared.objects.base import EXPIRING
from shared.outages import waiting
from shared.records.store import DEPLOYS
from shared.room import full_disk
from shared.service import Platform, Service
from shared.versions import Deploy, Deployed, removed_from
from voxloom.errors import Damaged, InvalidInput, NotAllowed, NotFound, StoreFull, Unavailable, VoxloomError
from voxloom.ids import new_id
from voxloom.manifest import Manifest, apply_overrides
from voxloom.models import RunError
from voxloom.unpack import Algorithm, unpack_zip

SWEEP_SECS = 3600.0
_SOURCE = re.compile(r"sources/[A-Za-z0-9_.-]{1,200}")
"""Where gateways put what is to be deployed."""
LONGEST_LOG = 1 << 20
"""Characters of what is told of a deploy that failed; the end of it says why."""


class Deployer(Service):
    name = "deployer"

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self._contents = Contents(self.store)
        self._forks = ForkServer()
        self._tries = Tries(self.store, new_id())

    async def on_start(self) -> None:
        self.keep(await self.bus.consume(topology.DEPLOYER, self.handle))
        self._clock = await self.store.expiry_clock()
        self.spawn("sweep", self._keep_swept())

    async def on_stop(self) -> None:
        self._forks.close()

    async def handle(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, DeployRequested):
                if _SOURCE.fullmatch(event.source_key):
                    await self._deploy(event)
                else:  # It would be removed afterwards, whatever it is.
                    self.log.warning(
                        "the deploy %s names %.100r, where no zip lies; ignored", event.subject, event.source_key
                    )
            elif isinstance(event, AlgorithmDeleteRequested):
                await self.bus.publish(await self._remove(event))

    # --- deploys ---

    async def _deploy(self, event: DeployRequested) -> None:
        outcome = await self._known_outcome(event)
        if outcome is None:
            await self.bus.publish(DeployStarted(subject=event.subject, project=event.project))
            async with self._tries.one_more(event.subject) as deadly:
                outcome = _given_up(event) if deadly else await self._carry_out(event)
            await self.store.put(DEPLOYS, _outcome_key(event), pack([outcome]), tags=EXPIRING)
        await self.bus.publish(outcome)
        await self.store.delete(DEPLOYS, event.source_key)

    async def _known_outcome(self, event: DeployRequested) -> Event | None:
        try:
            return unpack(await self.store.get(DEPLOYS, _outcome_key(event)))[0]
        except NotFound:
            return None

    async def _carry_out(self, event: DeployRequested) -> DeployCompleted | DeployFailed:
        """What is the author's to mend ends the deploy; what is ours is raised, and tried again."""
        try:
            async with self._work_folder() as work:
                manifest, deployed = await self._build(event, work)
        except (InvalidInput, StoreFull) as error:
            self.log.info("deploy %s failed: %s", event.subject, error.message)
            return _failure(event, error)
        except OSError as error:
            if (full := full_disk(error)) is None:
                raise
            self.log.warning("deploy %s failed: %s", event.subject, full.message)
            return _failure(event, full)
        self.log.info("deploy %s: %s %s.%s", event.subject, manifest.name, manifest.major, deployed.minor)
        return _success(event, manifest, deployed)

    async def _build(self, event: DeployRequested, work: Path) -> tuple[Manifest, Deployed]:
        algorithm = await self._unpack(event, work)
        described = await self._describe(algorithm, work)
        manifest = apply_overrides(described.manifest, event.overrides)
        input_schema = await self._check(algorithm, described.lacks, work) if manifest.check_importable else ""
        content = await self._contents.put(algorithm, described.plain, work)
        deploy = Deploy(
            deploy_id=event.subject,
            project=event.project,
            manifest=manifest,
            content=content,
            time=event.time,
            merge=event.merge,
            input_schema=input_schema,
        )
        return manifest, await add_minor(self.store, deploy)

    async def _unpack(self, event: DeployRequested, work: Path) -> Algorithm:
        source, target = work / "source.zip", work / "files"
        try:
            await self.store.checkout(DEPLOYS, event.source_key, source)
        except NotFound:
            raise InvalidInput(
                "What was to be deployed is not there any more; deploy it again.",
                code="deployment_zip_not_found",
                http_status=400,
            ) from None
        except Damaged as error:
            raise InvalidInput(f"{error.message} Deploy it again.", code=error.code, http_status=400) from None
        return await asyncio.to_thread(_unpack, source, target, self.settings.max_algorithm_bytes)

    async def _describe(self, algorithm: Algorithm, work: Path) -> Described:
        place = work / "describe"
        await asyncio.to_thread(place.mkdir)
        return await describe(self._forks, algorithm, place)

    async def _check(self, algorithm: Algorithm, lacks: str, work: Path) -> str:
        place = work / "check"
        await asyncio.to_thread(place.mkdir)
        await asyncio.to_thread(algorithm.lay_out)
        timeout, memory = self.settings.check_timeout, self.settings.runner_memory
        return await check_importable(self._forks, algorithm, place, timeout=timeout, memory=memory, lacks=lacks)

    @asynccontextmanager
    async def _work_folder(self) -> AsyncIterator[Path]:
        work = self.store.scratch / f"deploy-{secrets.token_hex(8)}"
        await asyncio.to_thread(work.mkdir)
        try:
            yield work
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    # --- removals ---

    async def _remove(self, event: AlgorithmDeleteRequested) -> AlgorithmDeleted | AlgorithmDeleteRefused:
        await self.room.make_way()
        try:
            await self._agree(event)
        except (NotFound, NotAllowed) as error:
            return _refusal(event, error)
        with contextlib.suppress(NotFound):  # It went the first time that this was delivered.
            await remove(self.store, event.subject, event.minor, regardless=True)
        return AlgorithmDeleted(subject=event.subject, project=event.project, request_id=event.id, minor=event.minor)

    async def _agree(self, event: AlgorithmDeleteRequested) -> None:
        """Raises NotFound or NotAllowed, unless the removal can be done or was agreed to before."""
        key = f"removals/{event.id}"
        with contextlib.suppress(NotFound):
            await self.store.head(DEPLOYS, key)
            return
        entry = await load_by_id(self.store, event.subject)
        if entry.project != event.project and not event.regardless:
            raise algorithm_not_found(event.subject)
        removed_from(entry, event.minor, regardless=event.regardless)
        await self.store.put(DEPLOYS, key, b"agreed", tags=EXPIRING)

    # --- what nobody needs any more ---

    async def _keep_swept(self) -> None:
        while True:
            await self.sweep(self._clock.moment())
            await asyncio.sleep(SWEEP_SECS)

    async def sweep(self, now: datetime) -> None:
        """Removes what no algorithm has referred to for a day."""
        try:
            removed = await self._contents.sweep(now)
        except Unavailable as error:
            self.log.warning("sweeping modules and assets has to wait: %s", error, extra=waiting(error))
            return
        if removed:
            self.log.info("%d modules and assets that nobody needs any more are removed", removed)


def _outcome_key(event: DeployRequested) -> str:
    return f"outcomes/{event.subject}"


def _unpack(source: Path, target: Path, limit: int) -> Algorithm:
    target.mkdir()
    return unpack_zip(source, target, limit=limit)


def _success(event: DeployRequested, manifest: Manifest, deployed: Deployed) -> DeployCompleted:
    entry = deployed.entry
    return DeployCompleted(
        subject=event.subject,
        project=event.project,
        algorithm_id=entry.algorithm_id,
        algorithm_name=entry.name,
        algorithm_major_version=entry.major,
        algorithm_minor_version=deployed.minor,
        changed=deployed.changed,
        warnings=manifest.warnings,
    )


def _failure(event: DeployRequested, error: VoxloomError) -> DeployFailed:
    log = str(error.details.get("log", error.message))[-LONGEST_LOG:]
    return DeployFailed(subject=event.subject, project=event.project, error=_told(error), log=log)


def _given_up(event: DeployRequested) -> DeployFailed:
    message = (
        "The server ended twice while it was deploying this, so it is not tried again. If something else has ended it, "
        "deploy it once more; else its log says what in the algorithm was too much for it."
    )
    return _failure(event, InvalidInput(message, code="deploy_given_up", http_status=400))


def _refusal(event: AlgorithmDeleteRequested, error: VoxloomError) -> AlgorithmDeleteRefused:
    return AlgorithmDeleteRefused(subject=event.subject, project=event.project, request_id=event.id, error=_told(error))


def _told(error: VoxloomError) -> RunError:
    return RunError(type=type(error).__name__, message=error.message, code=error.code, retryable=error.retryable)
