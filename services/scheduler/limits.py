"""How many runs of a project workers may have at a time, and what it weighs: as the control store has it.

This is for fairness, not for safety: where the store does not answer, the scheduler goes on by what it knew last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from messages.control import ControlChanged
from shared.control.objects import LIMITS
from shared.control.objects import Limits as Kept
from shared.control.store import ControlStore
from shared.control.view import ControlView
from shared.objects.base import ObjectStore
from voxloom.errors import ControlUnavailable

PAUSE_SECS = 5.0
"""Until the store is asked again when it did not answer."""

log = logging.getLogger("voxloom.scheduler")


class Limits(NamedTuple):
    """By project; who is not named has none, and weighs 1."""

    at_once: Mapping[str, int] = {}
    weights: Mapping[str, float] = {}


def limits_of(kept: Iterable[Kept]) -> Limits:
    known = list(kept)
    return Limits(
        {one.project: one.runs_at_once for one in known if one.runs_at_once is not None},
        {one.project: one.weight for one in known},
    )


class KnownLimits:
    """Read once somebody has closed the server, and again when they change. An open server reads nothing."""

    def __init__(self, store: ObjectStore, *, closed: bool) -> None:
        """`closed`: whether that is known from the start. Else the first change that is told of says so."""
        self._closed = closed
        self._view = ControlView(
            ControlStore(store, prefix=LIMITS), what="what the limits of projects are", pause=PAUSE_SECS
        )
        self._is_closed = asyncio.Event()
        if closed:
            self._is_closed.set()

    @property
    def now(self) -> Limits:
        return limits_of(self._view.directory.all_limits())

    async def read(self) -> None:
        """As they are now, as soon as the store says so: it is waited for a few seconds at most."""
        if not self._is_closed.is_set():
            return
        try:
            await self._view.read_anew()
        except ControlUnavailable as error:
            log.warning("decides by the limits of projects that it knew before: %s", error.message)

    def hear(self, event: ControlChanged) -> None:
        if not self._is_closed.is_set():
            log.warning(
                "this server asks who people are: set VOXLOOM_AUTH=closed for the scheduler, too, so that it knows the "
                "limits of projects from its start on"
            )
            self._is_closed.set()
            event = event.model_copy(update={"keys": []})
        self._view.hear(event)

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Without end: calls `on_change` when they are otherwise than before."""
        await self._is_closed.wait()
        self._view.on_change = on_change
        await self._view.keep_current()
