"""Runs of which the recorder has not said yet whether they go: they were to be deleted unless somebody keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from voxloom.errors import Unavailable


class Doubts:
    def __init__(self) -> None:
        self._settled: dict[str, asyncio.Event] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._settled

    def raise_of(self, runs: Iterable[str]) -> None:
        for run in runs:
            self._settled.setdefault(run, asyncio.Event())

    def settle(self, runs: Iterable[str]) -> None:
        """They are gone, or they stay."""
        for run in runs:
            if (settled := self._settled.pop(run, None)) is not None:
                settled.set()

    async def settled(self, run: str, *, within: float) -> None:
        """Waits until it is known of this run. Raises Unavailable (`answer_timeout`) after so many seconds."""
        settled = self._settled.get(run)
        if settled is None:
            return
        try:
            async with asyncio.timeout(within):
                await settled.wait()
        except TimeoutError:
            raise Unavailable(
                f"The record was to be deleted just now, and for {within:g} s nobody has said whether it was. Look "
                "again in a while.",
                code="answer_timeout",
            ) from None
