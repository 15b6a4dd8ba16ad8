"""Runs of which the recorder has not said yet whether they go: they were to be deleted unless somebody keeps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from voxloom.errors import Unavailable


class Doubts:
    """There may be very many at a time, when retention begins to count, and few that somebody waits for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Event] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._since

    def runs(self) -> list[str]:
        return list(self._since)

    def raise_of(self, runs: Iterable[str]) -> None:
        now = self._clock()
        for run in runs:
            self._since.setdefault(run, now)

    def settle(self, runs: Iterable[str]) -> None:
        """They are gone, or they stay."""
        for run in runs:
            self._since.pop(run, None)
            if (settled := self._waiting.pop(run, None)) is not None:
                settled.set()

    async def settled(self, run: str, *, within: float) -> None:
        """Waits until it is known of this run. Raises Unavailable (`answer_timeout`) after so many seconds."""
        if run not in self._since:
            return
        settled = self._waiting.setdefault(run, asyncio.Event())
        try:
            async with asyncio.timeout(within):
                await settled.wait()
        except TimeoutError:
            raise Unavailable(
                f"The record was to be deleted just now, and for {within:g} s nobody has said whether it was. Look "
                "again in a while.",
                code="answer_timeout",
            ) from None

    async def settled_soon(self, run: str, *, within: float) -> None:
        """Waits, but for so many seconds after it came into doubt at most: who asks for many, or while no recorder is
        at work, does not wait for each."""
        since = self._since.get(run)
        if since is not None and (left := since + within - self._clock()) > 0:
            with suppress(Unavailable):
                await self.settled(run, within=left)
