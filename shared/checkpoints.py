"""Checkpoints in the store: assets that a training has saved, to be laid over the algorithm's own.

In `algorithm-checkpoint-store`:

    manifests/<checkpoint id>            the checkpoint; it is there as long as this is
    trainings/<training id>/<time>-<id>  what one training has saved, in that order

Its assets lie in `asset-store` under their contents' names, as those of algorithms do, and are swept with them
(services/deployer): a manifest is a reference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from messages.trainings import Checkpoint
from shared.object_cache import KeptObjects
from shared.objects.base import ObjectStore, list_all
from voxloom.errors import NotFound
from voxloom.ids import is_id
from voxloom.models import format_time

COLLECTION = "algorithm-checkpoint-store"


async def save(store: ObjectStore, checkpoint: Checkpoint) -> None:
    """Its assets are in the store already. Doing it again changes nothing."""
    await store.put(COLLECTION, _manifest_key(checkpoint.checkpoint_id), checkpoint.manifest())
    await store.put(COLLECTION, _place_in_training(checkpoint), b"")


async def load(store: ObjectStore, checkpoint_id: str) -> Checkpoint:
    """Raises NotFound (`checkpoint_not_found`)."""
    if not is_id(checkpoint_id):
        raise checkpoint_not_found(checkpoint_id)
    try:
        return Checkpoint.model_validate_json(await store.get(COLLECTION, _manifest_key(checkpoint_id)))
    except NotFound:
        raise checkpoint_not_found(checkpoint_id) from None


async def of_training(store: ObjectStore, training_id: str) -> list[Checkpoint]:
    """What a training has saved, in that order, and not taken back."""
    found = []
    async for item in list_all(store, COLLECTION, _training_prefix(training_id)):
        try:
            found.append(await load(store, item.key.rpartition("_")[2]))
        except NotFound:  # It was taken back.
            continue
    return found


async def list_checkpoints(store: ObjectStore) -> AsyncIterator[Checkpoint]:
    """All of every project, in no order that means anything."""
    async for item in list_all(store, COLLECTION, "manifests/"):
        try:
            yield Checkpoint.model_validate_json(await store.get(COLLECTION, item.key))
        except NotFound:  # It has just been deleted.
            continue


class KnownCheckpoints:
    """All checkpoints of every project, in memory."""

    def __init__(self, store: ObjectStore) -> None:
        self._objects = KeptObjects(store, COLLECTION, "manifests/", Checkpoint)

    async def all(self) -> Sequence[Checkpoint]:
        """Those there are now, the oldest first."""
        found = (await self._objects.all()).values()
        return sorted(found, key=lambda checkpoint: (checkpoint.created_at, checkpoint.checkpoint_id))


async def remove(store: ObjectStore, checkpoint: Checkpoint) -> None:
    await store.delete(COLLECTION, _manifest_key(checkpoint.checkpoint_id), _place_in_training(checkpoint))


def checkpoint_not_found(checkpoint_id: str) -> NotFound:
    return NotFound(
        f"There is no checkpoint {checkpoint_id[:200]!r}; `GET /api/v0/checkpoint/all` shows those there are.",
        code="checkpoint_not_found",
        details={"checkpoint_id": checkpoint_id},
    )


def _manifest_key(checkpoint_id: str) -> str:
    return f"manifests/{checkpoint_id}"


def _training_prefix(training_id: str) -> str:
    return f"trainings/{training_id}/"


def _place_in_training(checkpoint: Checkpoint) -> str:
    when = format_time(checkpoint.created_at)
    return f"{_training_prefix(checkpoint.training_id)}{when}_{checkpoint.checkpoint_id}"
