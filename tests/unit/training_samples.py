"""Checkpoints for tests."""

from __future__ import annotations

from typing import Any

from messages.trainings import Checkpoint
from voxloom.ids import new_id
from voxloom.models import utc_now


def checkpoint_of(assets: dict[str, str], **facts: Any) -> Checkpoint:
    given = {
        "checkpoint_id": new_id(),
        "project": "default",
        "training_id": new_id(),
        "algorithm_id": "a",
        "algorithm_name": "n",
        "algorithm_major_version": "1",
        "algorithm_minor_version": "0",
        "created_at": utc_now(),
        "assets": assets,
    }
    return Checkpoint.model_validate({**given, **facts})
