"""How it is told that an author's code has begun."""

from __future__ import annotations

import asyncio

from messages.runs import Result, RunHandedOver, RunStarted
from shared.bus.outbox import Outbox

SAID_SECS = 5.0
"""How long a later attempt waits until it is known that it begins: not for ever, the bus may be away."""


SOON_SECS = 0.05
"""Nobody notices that a run which takes longer says it so much later; a shorter one says it in its report. The event
waits here and not in the outbox, which the reports of others empty all the time."""


class Start:
    """Of one attempt."""

    def __init__(self, assignment: RunHandedOver, outbox: Outbox) -> None:
        self._assignment = assignment
        self._outbox = outbox
        self._said: RunStarted | None = None
        self._later: asyncio.TimerHandle | None = None

    async def say(self, device: str, card: str | None) -> None:
        """Only a loss after this counts, and a run that brings the whole server down must not do so for ever: a later
        attempt begins when it is known to have begun."""
        first = self._assignment.attempt == 1
        self._said = started(self._assignment, device, card)
        if first:
            self._later = asyncio.get_running_loop().call_later(SOON_SECS, self._say, self._said)
        else:
            self._say(self._said)
            await self._outbox.drained(SAID_SECS)

    def _say(self, said: RunStarted) -> None:
        self._later = None
        self._outbox.put(said)

    def told_in(self, result: Result) -> Result:
        """Of a short run, one event less is said: everybody who hears it has its end at the same moment."""
        if self._said is None or not self._is_unsaid(self._said):
            return result
        return result.model_copy(update={"began": self._said.time})

    def _is_unsaid(self, said: RunStarted) -> bool:
        """And from now on it never will be said."""
        if self._later is None:
            return self._outbox.take_back(said)
        self._later.cancel()
        self._later = None
        return True


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
