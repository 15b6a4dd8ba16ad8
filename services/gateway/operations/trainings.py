"""What trainings alone can do: go on where an old one has ended."""

from __future__ import annotations

from services.gateway.http.idempotency import Key
from services.gateway.operations.inventory import Inventory
from services.gateway.operations.runs import Asked, Wish, ask
from services.gateway.views.runs import LiveRun
from shared.pinning import training_of
from shared.records.fold import RunState
from voxloom.errors import Conflict
from voxloom.models import TrainingRequest


async def go_on_with(inventory: Inventory, run: LiveRun, key: Key | None) -> Asked:
    """Asks for a training that begins with the newest checkpoint of this one, and is else like it. Raises Conflict
    (`training_not_ended`)."""
    wanted = _continued(run.state)
    wish = Wish("continue", wanted, lambda: training_of(inventory, wanted))
    return await ask(inventory.context, inventory.caller, wish, key)


def _continued(state: RunState) -> TrainingRequest:
    work = state.work
    assert work is not None
    if not state.ended:
        raise Conflict(
            "The training has not ended yet; stop it first, or wait for its end.",
            code="training_not_ended",
            details={"training_id": state.run, "status": state.status},
        )
    return TrainingRequest(
        algorithm_id=work.algorithm.algorithm_id,
        training_data=work.sample_ids,
        checkpoint_id=next(reversed(state.checkpoint_ids), work.checkpoint_id),
        algorithm_minor_version=work.algorithm.minor,
        tags=work.tags,
        additional_parameters=work.parameters,
        priority=work.priority,
    )
