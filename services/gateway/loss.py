"""What a gateway does when the broker has lost its disk: it asks again for what it knows to be asked for.

A request that waited there for the recorder or the scheduler would else be shown as PENDING for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from messages.base import Event
from messages.executions import ExecutionRequested, ExecutionStopRequested
from messages.gateways import GatewayFoundLoss
from messages.runs import of_task
from shared.bus.base import Bus
from shared.records.fold import RunState
from voxloom.errors import Unavailable

AT_ONCE = 50
"""Runs that are looked up together, and asked for in one go."""
PAUSE_SECS = 1.0

log = logging.getLogger("voxloom.gateway")


def asked_for(state: RunState) -> list[Event]:
    """What clients have asked of a run, said again. Nothing of one that has ended, or whose request never came."""
    if state.work is None or state.submitted is None or state.ended:
        return []
    task = state.work.task
    request = of_task(ExecutionRequested, task)(
        subject=state.run, project=state.project, work=state.work, time=state.submitted
    )
    if state.stop_requested is None:
        return [request]
    stop = of_task(ExecutionStopRequested, task)
    return [request, stop(subject=state.run, project=state.project, time=state.stop_requested)]


async def ask_again(
    bus: Bus, instance: str, unfinished: Callable[[], Sequence[str]], look: Callable[[str], Awaitable[RunState | None]]
) -> None:
    """Asks for all runs that have not ended, then says that it has found a loss; tries until the bus takes it.

    `look` gives what is known of a run by now: one whose end was missed must not begin again.
    """
    while True:
        try:
            runs = unfinished()
            for start in range(0, len(runs), AT_ONCE):
                await _ask(bus, await asyncio.gather(*map(look, runs[start : start + AT_ONCE])))
            await bus.publish(GatewayFoundLoss(subject=instance))
        except Unavailable as error:
            log.warning("what was lost cannot be asked for again yet: %s", error)
            await asyncio.sleep(PAUSE_SECS)
        else:
            log.warning("the broker had lost what it kept; %d runs were asked for again", len(runs))
            return


async def _ask(bus: Bus, states: Iterable[RunState | None]) -> None:
    events = [event for state in states if state is not None for event in asked_for(state)]
    if events:
        await bus.publish(*events)
