"""What there is for a run of the caller's to use, as the gateway's views know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from messages.trainings import Checkpoint
from services.gateway.context import Context
from services.gateway.operations import checkpoints, samples
from shared.algorithms import AlgorithmEntry
from shared.caller import Caller
from voxloom.models import SampleRecord


@dataclass(frozen=True)
class Inventory:
    """The port of `shared.pinning`."""

    context: Context
    caller: Caller

    @property
    def cpu_fallback(self) -> bool:
        return self.context.settings.cpu_fallback

    async def files(self, names: Iterable[str]) -> Mapping[str, str]:
        return await self.context.files.ids(self.caller, names)

    async def algorithm(self, algorithm_id: str) -> AlgorithmEntry:
        return await self.context.algorithms.get(self.caller, algorithm_id)

    async def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        return await checkpoints.find(self.context, self.caller, checkpoint_id)

    async def samples(self) -> Sequence[SampleRecord]:
        return await samples.all_of(self.context, self.caller)
