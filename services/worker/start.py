"""How it is told that an author's code has begun."""

from __future__ import annotations

from messages.runs import Result, RunHandedOver, RunStarted
from shared.bus.outbox import Outbox

SAID_SECS = 5.0
"""How long a later attempt waits until it is known that it begins: not for ever, the bus may be away."""


class Start:
    """Of one attempt."""

    def __init__(self, assignment: RunHandedOver, outbox: Outbox) -> None:
        self._assignment = assignment
        self._outbox = outbox
        self._said: RunStarted | None = None

    async def say(self, device: str, card: str | None) -> None:
        """Only a loss after this counts, and a run that brings the whole server down must not do so for ever: a later
        attempt begins when it is known to have begun."""
        first = self._assignment.attempt == 1
        self._said = started(self._assignment, device, card)
        self._outbox.put(self._said, soon=first)
        if not first:
            await self._outbox.drained(SAID_SECS)

    def told_in(self, result: Result) -> Result:
        """Of a short run, one event less is said: everybody who hears it has its end at the same moment."""
        if self._said is None or not self._outbox.take_back(self._said):
            return result
        return result.model_copy(update={"began": self._said.time})


def started(assignment: RunHandedOver, device: str, card: str | None) -> RunStarted:
    return RunStarted(
        task=assignment.work.task,
        subject=assignment.subject,
        project=assignment.project,
        attempt=assignment.attempt,
        epoch=assignment.epoch,
        worker_id=assignment.worker_id,
        incarnation=assignment.incarnation,
        device_class=assignment.device_class,
        device=device,
        card=card,
        lost=assignment.lost,
    )
