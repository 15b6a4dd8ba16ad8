"""The algorithms that are deployed and their checkpoints, in memory; read again when one has changed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from messages.base import Event
from messages.checkpoints import CheckpointDeleted
from messages.deploys import AlgorithmDeleted, DeployCompleted
from messages.runs import RunFailed, RunStopped
from messages.trainings import Checkpoint, TrainingCheckpointDropped, TrainingCheckpointSaved
from services.gateway.views import precedence
from shared.algorithms import AlgorithmEntry, algorithm_not_found, list_entries, record_of
from shared.caller import Caller
from shared.checkpoints import KnownCheckpoints
from shared.objects.base import ObjectStore
from voxloom.errors import NotFound
from voxloom.models import AlgorithmRecord

_ENTRIES = (DeployCompleted, AlgorithmDeleted)
_CHECKPOINTS = (TrainingCheckpointSaved, TrainingCheckpointDropped, CheckpointDeleted)
T = TypeVar("T")


def _leaves_checkpoints(event: Event) -> bool:
    """What an attempt had saved when it was lost nobody may have told of before the end of its training."""
    return isinstance(event, RunFailed | RunStopped) and event.task == "training"


class Kept(Generic[T]):
    """What was read last, until something has changed."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._value: T | None = None
        self._changes = 1
        self._read_at_change = 0
        self._reading = asyncio.Lock()

    def changed(self) -> None:
        self._changes += 1

    async def get(self) -> T:
        """As it was after all changes that were told of before the call."""
        if self._value is None or self._read_at_change != self._changes:
            async with self._reading:
                if self._value is None or self._read_at_change != self._changes:
                    changes = self._changes
                    self._value = await self._read()
                    self._read_at_change = changes
        return self._value


class Shown(NamedTuple):
    """A record, and what it was made from."""

    entry: AlgorithmEntry
    checkpoints: Sequence[Checkpoint]
    record: AlgorithmRecord


class KnownAlgorithms:
    def __init__(self, store: ObjectStore, checkpoints: KnownCheckpoints) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._entries = Kept(self._read)
        self._learnt = Kept(self._read_learnt)
        self._shown: dict[tuple[str, str | None], Shown] = {}
        """By the algorithm, and the project for which it is shown; None: for any."""

    def hear(self, event: Event) -> None:
        if isinstance(event, _ENTRIES):
            self._entries.changed()
        elif isinstance(event, _CHECKPOINTS) or _leaves_checkpoints(event):
            self._learnt.changed()

    async def get(self, caller: Caller, algorithm_id: str) -> AlgorithmEntry:
        """Raises NotFound (`algorithm_not_found`)."""
        entry = (await self._entries.get()).get(algorithm_id)
        if entry is None or not caller.may_use(entry.project):
            raise algorithm_not_found(algorithm_id)
        return entry

    async def named(self, caller: Caller, name: str, major: str) -> AlgorithmEntry:
        """By its exact name, else without regard to case; one's own before those of libraries. Raises NotFound
        (`algorithm_not_found`)."""
        found = precedence.named(caller, (await self._entries.get()).values(), name, major)
        if found is None:
            raise NotFound(
                f"There is no algorithm {name[:200]!r} with major version {major[:20]!r}; "
                "`GET /api/v0/algorithm/all` shows what is deployed.",
                code="algorithm_not_found",
                details={"algorithm_name": name, "algorithm_major_version": major},
            )
        return found

    async def records(self, caller: Caller, *, project: str | None = None) -> Sequence[AlgorithmRecord]:
        """All of the project's, and of libraries what is found by its name, by name and major version; of one `project`
        all that the caller may use."""
        known, learnt = (await self._entries.get()).values(), await self._learnt.get()
        if project is None:
            shown = precedence.listed(caller, known)
        else:
            shown = [entry for entry in known if entry.project == project and caller.may_use(project)]
        return [self._record(caller, entry, learnt) for entry in shown]

    async def record(self, caller: Caller, entry: AlgorithmEntry) -> AlgorithmRecord:
        return self._record(caller, entry, await self._learnt.get())

    async def of_project(self, project: str) -> list[AlgorithmEntry]:
        return [entry for entry in (await self._entries.get()).values() if entry.project == project]

    def _record(
        self, caller: Caller, entry: AlgorithmEntry, learnt: Mapping[str, Sequence[Checkpoint]]
    ) -> AlgorithmRecord:
        """With what the caller's own trainings have learnt: others train what is in a library, too."""
        checkpoints = [one for one in learnt.get(entry.algorithm_id, ()) if caller.owns(one.project)]
        shown = self._shown.get((entry.algorithm_id, caller.within))
        if shown is None or shown.entry is not entry or shown.checkpoints != checkpoints:
            shown = Shown(entry, checkpoints, record_of(entry, checkpoints))
            self._shown[entry.algorithm_id, caller.within] = shown
        return shown.record

    async def _read(self) -> dict[str, AlgorithmEntry]:
        entries = [entry async for entry in list_entries(self._store)]
        entries.sort(key=lambda entry: (entry.name.casefold(), entry.name, int(entry.major)))
        self._shown.clear()
        return {entry.algorithm_id: entry for entry in entries}

    async def _read_learnt(self) -> dict[str, tuple[Checkpoint, ...]]:
        """By the ids of their algorithms, the oldest first."""
        found = defaultdict(list)
        for checkpoint in await self._checkpoints.all():
            found[checkpoint.algorithm_id].append(checkpoint)
        return {algorithm: tuple(checkpoints) for algorithm, checkpoints in found.items()}
