"""What a training reads and saves beyond files: samples, and checkpoints, each said as soon as it is in the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from messages.base import Event
from messages.runs import RunHandedOver
from messages.trainings import Checkpoint, TrainingCheckpointDropped, TrainingCheckpointSaved
from services.worker.data import Materials
from shared import checkpoints, samples
from shared.algorithms import ASSETS
from shared.bus.limits import check_first
from shared.bus.outbox import Outbox
from shared.objects.base import FileUpload, ObjectStore
from voxloom.digests import named
from voxloom.errors import InvalidInput
from voxloom.ids import new_id
from voxloom.models import utc_now

_READ_AT_ONCE = 16


async def saved_before(store: ObjectStore, assignment: RunHandedOver) -> list[Checkpoint]:
    """What earlier attempts at a training have saved."""
    again = assignment.work.task == "training" and assignment.attempt > 1
    return await checkpoints.of_training(store, assignment.subject) if again else []


async def beginning_of(
    store: ObjectStore, assignment: RunHandedOver, before: Sequence[Checkpoint]
) -> Checkpoint | None:
    """The checkpoint whose assets a run begins with: the newest of its own, or the one that it was given. Raises
    NotFound."""
    if before:
        return before[-1]
    given = assignment.work.checkpoint_id
    return await checkpoints.load(store, given) if given else None


class Learning:
    """Of one attempt. `saved` are the ids of its checkpoints, the oldest first."""

    def __init__(
        self,
        store: ObjectStore,
        materials: Materials,
        outbox: Outbox,
        assignment: RunHandedOver,
        beginning: Checkpoint | None,
        scratch: Path,
    ) -> None:
        self._store = store
        self._materials = materials
        self._outbox = outbox
        self._assignment = assignment
        self._beginning = beginning
        self._scratch = scratch
        self._saved: dict[str, Checkpoint] = {}

    async def samples(self, sample_ids: list[str]) -> list[dict[str, Any]]:
        """Those of the project. Raises NotFound (`sample_not_found`)."""
        found = []
        for start in range(0, len(sample_ids), _READ_AT_ONCE):
            some = sample_ids[start : start + _READ_AT_ONCE]
            found += await asyncio.gather(*(samples.load(self._store, one) for one in some))
        for sample in found:
            if sample.project != self._assignment.project:
                raise samples.sample_not_found(sample.sample_id)
        return [sample.model_dump(exclude={"project"}) for sample in found]

    async def checkpoint(self, assets: dict[str, str], properties: dict[str, Any]) -> str:
        """Keeps the contents of these local files. Raises InvalidInput (`checkpoint_asset_path_invalid`), and TooLarge
        for properties that nobody could be told."""
        await self._check(assets)
        places = {path: Path(place) for path, place in assets.items()}
        hashes, sizes = await asyncio.to_thread(_hashes, places, self._scratch)
        # Put again even if they are there: what nobody has referred to for long may be swept at any moment.
        uploads = {
            hashes[path]: FileUpload(hashes[path], place, digest=named(hashes[path])) for path, place in places.items()
        }
        await self._store.put_files(ASSETS, list(uploads.values()))
        checkpoint = self._new(hashes, sizes, properties)
        saved = self._event(TrainingCheckpointSaved, checkpoint=checkpoint)
        check_first(saved)
        await checkpoints.save(self._store, checkpoint)
        self._saved[checkpoint.checkpoint_id] = checkpoint
        self._outbox.put(saved, soon=True)
        return checkpoint.checkpoint_id

    async def _check(self, assets: Mapping[str, str]) -> None:
        algorithm = self._assignment.work.algorithm
        for path in assets:
            if not await self._materials.has_asset(algorithm, path):
                raise InvalidInput(
                    f"{path!r} is no asset of {algorithm.name} {algorithm.major}.{algorithm.minor}: a checkpoint has "
                    "new contents for assets that the algorithm was deployed with, by their paths.",
                    code="checkpoint_asset_path_invalid",
                )

    def _new(self, hashes: Mapping[str, str], sizes: Mapping[str, int], properties: dict[str, Any]) -> Checkpoint:
        """What the training began with goes on to hold where nothing newer was saved."""
        work, beginning = self._assignment.work, self._beginning
        assets = {**(beginning.assets if beginning else {}), **hashes}
        known = {**(beginning.asset_sizes if beginning else {}), **sizes}
        return Checkpoint(
            checkpoint_id=new_id(),
            project=self._assignment.project,
            training_id=self._assignment.subject,
            algorithm_id=work.algorithm.algorithm_id,
            algorithm_name=work.algorithm.name,
            algorithm_major_version=work.algorithm.major,
            algorithm_minor_version=work.algorithm.minor,
            parent_checkpoint_id=work.checkpoint_id,
            created_at=utc_now(),
            properties=properties,
            tags=work.tags,
            assets=assets,
            asset_bytes=sum(sizes[content] for content in hashes.values()),
            asset_sizes={content: known[content] for content in assets.values() if content in known},
        )

    async def drop_checkpoint(self, checkpoint_id: str) -> None:
        checkpoint = self._saved.pop(checkpoint_id, None)
        if checkpoint is None:
            raise checkpoints.checkpoint_not_found(checkpoint_id)
        await checkpoints.remove(self._store, checkpoint)
        self._say(TrainingCheckpointDropped, checkpoint_id=checkpoint_id)

    def say_again(self, before: Sequence[Checkpoint]) -> None:
        """An attempt that was lost may not have come to say what it had saved."""
        for checkpoint in before:
            self._say(TrainingCheckpointSaved, checkpoint=checkpoint)

    def _say(self, kind: type[TrainingCheckpointSaved | TrainingCheckpointDropped], **facts: Any) -> None:
        self._outbox.put(self._event(kind, **facts), soon=True)

    def _event(self, kind: type[TrainingCheckpointSaved | TrainingCheckpointDropped], **facts: Any) -> Event:
        run = self._assignment
        return kind(subject=run.subject, project=run.project, attempt=run.attempt, **facts)


def _hashes(places: Mapping[str, Path], scratch: Path) -> tuple[dict[str, str], dict[str, int]]:
    """The names of the contents by their paths, and the bytes of each by its name. The files have to be plain ones of
    the run's own."""
    hashes, sizes = {}, {}
    for path, place in places.items():
        if not place.resolve().is_relative_to(scratch.resolve()) or place.is_symlink() or not place.is_file():
            raise InvalidInput("The contents of a checkpoint have to lie in plain files of the run's own folder.")
        with place.open("rb") as file:
            hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
        sizes[hashes[path]] = place.stat().st_size
    return hashes, sizes
