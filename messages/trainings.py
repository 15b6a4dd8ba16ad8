"""Events that trainings have beside those of every run: their checkpoints. The subject is the training's id."""

from __future__ import annotations

from typing import Any

from messages.runs import RunEvent, Task
from voxloom.models import Moment, Value


class Checkpoint(Value):
    """Assets that take the place of an algorithm's own, and where they come from. It never changes."""

    checkpoint_id: str
    project: str
    training_id: str
    algorithm_id: str
    algorithm_name: str
    algorithm_major_version: str
    algorithm_minor_version: str
    parent_checkpoint_id: str | None = None
    """The checkpoint that the training began with; its assets are among these where no newer ones are."""
    created_at: Moment
    properties: dict[str, Any] = {}
    tags: list[str] = []
    assets: dict[str, str]
    """By their paths, the contents' names in `asset-store`."""
    asset_bytes: int = 0
    """Of what this save has brought."""
    asset_sizes: dict[str, int] = {}
    """By their contents' names, the bytes of all assets."""

    def manifest(self) -> bytes:
        """What the store holds of it beside the assets."""
        return self.model_dump_json().encode()


class _OfTraining(RunEvent):
    entities = ("training",)
    task: Task = "training"


class TrainingCheckpointSaved(_OfTraining):
    """The author's code has saved a checkpoint, which is in the store now. Of all attempts, all count."""

    verb = "checkpoint-saved"
    checkpoint: Checkpoint


class TrainingCheckpointDropped(_OfTraining):
    """The author's code has taken back a checkpoint that it had saved."""

    verb = "checkpoint-dropped"
    checkpoint_id: str
