"""Checkpoints of the caller's project."""

from __future__ import annotations

from collections.abc import Sequence

from messages.checkpoints import CheckpointDeleted
from messages.trainings import Checkpoint
from services.gateway.context import Context
from shared.caller import Caller
from shared.checkpoints import checkpoint_not_found, load, remove


async def find(context: Context, caller: Caller, checkpoint_id: str) -> Checkpoint:
    """Raises NotFound (`checkpoint_not_found`)."""
    checkpoint = await load(context.store, checkpoint_id)
    if not caller.owns(checkpoint.project):
        raise checkpoint_not_found(checkpoint_id)
    return checkpoint


async def all_of(context: Context, caller: Caller) -> Sequence[Checkpoint]:
    """The oldest first."""
    return [one for one in await context.checkpoints.all() if caller.owns(one.project)]


async def delete(context: Context, caller: Caller, checkpoint_id: str) -> None:
    """Raises NotFound (`checkpoint_not_found`)."""
    checkpoint = await find(context, caller, checkpoint_id)
    await remove(context.store, checkpoint)
    event = CheckpointDeleted(subject=checkpoint.checkpoint_id, project=checkpoint.project, actor=caller.actor)
    await context.publish(event)
