"""Events of checkpoints. The subject is the checkpoint's id."""

from __future__ import annotations

from messages.base import Event


class CheckpointDeleted(Event):
    """Nothing can use it any more."""

    entities = ("checkpoint",)
    verb = "deleted"
