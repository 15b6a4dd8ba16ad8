"""What a gateway does when the broker has lost its disk: it asks again for what it knows to be asked for.

A run, or a deploy, whose request waited there for somebody would else be shown as PENDING for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from messages.base import Event
from messages.gateways import GatewayFoundLoss
from messages.runs import RunRequested, RunStopRequested
from services.gateway.views.runs import LiveView
from shared.bus.base import Bus
from shared.bus.outbox import Outbox
from shared.outages import waiting
from shared.records.fold import RunState
from shared.records.registry import KINDS
from voxloom.errors import Unavailable

AT_ONCE = 50
"""Runs, or records of another kind, that are looked up together, and asked for in one go."""
PAUSE_SECS = 1.0

log = logging.getLogger("voxloom.gateway")


def asked_for(state: RunState) -> list[Event]:
    """What clients have asked of a run, said again. Nothing of one that has ended, or whose request never came."""
    if state.work is None or state.submitted is None or state.ended:
        return []
    task = state.work.task
    facts: dict[str, Any] = {"subject": state.run, "project": state.project, "actor": state.submitted_by}
    request = RunRequested(task=task, work=state.work, time=state.submitted, **facts)
    if state.stop_requested is None:
        return [request]
    stop = RunStopRequested(task=task, subject=state.run, project=state.project, time=state.stop_requested)
    return [request, stop]


async def ask_again(bus: Bus, instance: str, view: LiveView) -> None:
    """Asks for all that has not ended, then says that it has found a loss; tries until the bus takes it. Of what was to
    be deleted nothing is asked again: what is still there stays."""
    view.give_up_doubts()
    while True:
        try:
            count = await _ask_for_all(bus, view)
            await bus.publish(GatewayFoundLoss(subject=instance))
        except Unavailable as error:
            log.warning("what was lost cannot be asked for again yet: %s", error, extra=waiting(error))
            await asyncio.sleep(PAUSE_SECS)
        else:
            log.warning("the broker had lost what it kept; %d runs and other things were asked for again", count)
            return


async def _ask_for_all(bus: Bus, view: LiveView) -> int:
    """How many. All are looked up before, as one whose end was missed must not begin again."""
    count = 0
    for batch in _batches(view.unfinished_runs()):
        states = await asyncio.gather(*map(view.look, batch))
        count += await _say(bus, [asked_for(state) for state in states if state is not None])
    for kind in KINDS:
        records = view.of(kind)
        for batch in _batches(records.unfinished()):
            states = await asyncio.gather(*map(records.look, batch))
            count += await _say(bus, [[one.request] for one in states if one is not None and one.request is not None])
    return count


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE))


async def _say(bus: Bus, asked: Sequence[Sequence[Event]]) -> int:
    """What was asked of each; of how many there was something."""
    outbox = Outbox(bus)  # One that no bus takes, of a version that allowed more, must not keep back the others.
    outbox.put(*(event for one in asked for event in one))
    await outbox.say()
    return sum(map(bool, asked))
