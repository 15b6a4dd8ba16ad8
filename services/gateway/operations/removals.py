"""An algorithm, or a minor version of it, is taken out."""

from __future__ import annotations

from messages.deploys import AlgorithmDeleteRefused, AlgorithmDeleteRequested
from services.gateway.context import Context
from services.gateway.views.answers import answer, removal_asked_by
from shared.algorithms import AlgorithmEntry
from shared.caller import Caller
from shared.versions import removed_from
from voxloom.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable, VoxloomError
from voxloom.models import RunError


async def remove(
    context: Context, caller: Caller, entry: AlgorithmEntry, minor: str | None, *, regardless: bool
) -> None:
    """`regardless` of whether it says that it may be removed. Raises what it was refused for."""
    _check_owner(caller, entry)
    removed_from(entry, minor, regardless=regardless)  # Refuses at once what the deployer would refuse.
    event = AlgorithmDeleteRequested(
        subject=entry.algorithm_id,
        project=entry.project,
        actor=caller.actor,
        minor=minor,
        regardless=regardless,
    )
    with context.answers.expect(removal_asked_by(event.id)) as removed:
        await context.publish(event)
        outcome = await answer(removed, context.settings.answer_timeout, "Removing the algorithm")
    if isinstance(outcome, AlgorithmDeleteRefused):
        raise _refusal(outcome.error, entry.algorithm_id)


def _check_owner(caller: Caller, entry: AlgorithmEntry) -> None:
    """Raises NotAllowed: who uses what is in a library does not take it out."""
    if not caller.owns(entry.project):
        raise NotAllowed(
            f"The algorithm {entry.name!r} {entry.major} is of the library {entry.project!r}; ask whoever manages it.",
            code="forbidden",
            details={"right": "deploy", "project": entry.project},
        )


def _refusal(error: RunError, algorithm_id: str) -> VoxloomError:
    details = {"algorithm_id": algorithm_id}
    if error.retryable:
        return Unavailable(error.message, code=error.code, details=details)
    if error.code in ("algorithm_not_found", "minor_version_not_found"):
        return NotFound(error.message, code=error.code, details=details)
    if error.code == "algorithm_not_removable":
        return InvalidInput(error.message, code=error.code, http_status=400, details=details)
    return Conflict(error.message, code=error.code, details=details)
