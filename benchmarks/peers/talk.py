"""What a process that makes load does, as its input tells it to; the standard library alone, since it runs in the
environments of others."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Client(Protocol):
    def alone(self, runs: int) -> list[float]:
        """Milliseconds that each took, one after the other."""

    def flying(self, runs: int, at_once: int) -> float:
        """Seconds until all had ended, so many at a time."""


def obey(client: Client) -> None:
    """Takes `alone RUNS` and `flying RUNS AT_ONCE`, a line each, and answers with JSON, a line each."""
    _say("ready")
    for line in sys.stdin:
        order, *numbers = line.split()
        _say(getattr(client, order)(*map(int, numbers)))


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class AsyncClient:
    """Of a coroutine that does one run, and ends when the client knows that the run has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, run: Callable[[], Awaitable[None]]) -> None:
        self._loop = loop
        self._run = run

    def alone(self, runs: int) -> list[float]:
        return self._loop.run_until_complete(self._alone(runs))

    def flying(self, runs: int, at_once: int) -> float:
        return self._loop.run_until_complete(self._flying(runs, at_once))

    async def _alone(self, runs: int) -> list[float]:
        times = []
        for _ in range(runs):
            begun = time.perf_counter()
            await self._run()
            times.append((time.perf_counter() - begun) * 1e3)
        return times

    async def _flying(self, runs: int, at_once: int) -> float:
        left = iter(range(runs))

        async def one_after_another() -> None:
            for _ in left:
                await self._run()

        begun = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
        return time.perf_counter() - begun


class PlainClient:
    """Of a function that sends a task, and one that waits for the end of what was sent."""

    def __init__(self, send: Callable[[], Any], wait: Callable[[Any], None]) -> None:
        self._send = send
        self._wait = wait

    def alone(self, runs: int) -> list[float]:
        return [self.flying(1, 1) * 1e3 for _ in range(runs)]

    def flying(self, runs: int, at_once: int) -> float:
        """It waits for the oldest."""
        begun = time.perf_counter()
        sent: deque[Any] = deque()
        for _ in range(runs):
            if len(sent) == at_once:
                self._wait(sent.popleft())
            sent.append(self._send())
        while sent:
            self._wait(sent.popleft())
        return time.perf_counter() - begun
