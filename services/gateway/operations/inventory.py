"""What there is for a run to use, as the gateway's views know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from messages.trainings import Checkpoint
from services.gateway.context import Context
from shared import checkpoints
from shared.algorithms import AlgorithmEntry
from voxloom.models import SampleRecord


@dataclass(frozen=True)
class Inventory:
    """The port of `shared.pinning`."""

    context: Context

    @property
    def cpu_fallback(self) -> bool:
        return self.context.settings.cpu_fallback

    async def missing_files(self, file_ids: Sequence[str]) -> list[str]:
        return await self.context.files.missing(file_ids)

    async def algorithm(self, algorithm_id: str) -> AlgorithmEntry:
        return await self.context.algorithms.get(algorithm_id)

    async def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        return await checkpoints.load(self.context.store, checkpoint_id)

    async def samples(self) -> Sequence[SampleRecord]:
        return await self.context.samples.all()
