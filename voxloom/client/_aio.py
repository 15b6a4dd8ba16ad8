"""What the asynchronous client needs of asyncio. `_sio` has the same names for the synchronous one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import ParamSpec, TypeVar

__all__ = ["aclosing", "each", "in_thread", "parallel", "sleep"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

sleep = asyncio.sleep


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs what blocks (disk, h5py) where it does not hold up the loop."""
    return await asyncio.to_thread(function, *args, **kwargs)


async def each(items: Iterator[T]) -> AsyncIterator[T]:
    """The items of an iterator that blocks."""
    done = object()
    while (item := await asyncio.to_thread(next, items, done)) is not done:
        yield item  # type: ignore[misc]  # mypy cannot tell the sentinel from an item


async def parallel(function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int) -> list[R]:
    """`function` of every item, in order, at most `limit` at a time.

    The first error stops the others and is raised.
    """
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for index, item in waiting:
            results[index] = await function(item)

    tasks = [asyncio.create_task(work(), name=f"voxloom-client-{number}") for number in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[index] for index in range(len(results))]
