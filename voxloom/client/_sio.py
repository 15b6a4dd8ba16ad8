"""What the synchronous client has in place of asyncio. `_aio` has the same names."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import ParamSpec, TypeVar

__all__ = ["closing", "each", "in_thread", "parallel", "sleep"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

sleep = time.sleep


def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The caller's own thread will do: there is no loop to hold up."""
    return function(*args, **kwargs)


def each(items: Iterator[T]) -> Iterator[T]:
    return items


def parallel(function: Callable[[T], R], items: Sequence[T], limit: int) -> list[R]:
    """`function` of every item, in order, at most `limit` at a time, in threads.

    The first error stops the others, each after the item it is at, and is raised.
    """
    if len(items) <= 1:
        return [function(item) for item in items]
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))
    taking = threading.Lock()
    stop = threading.Event()

    def take() -> tuple[int, T] | None:
        with taking:
            return None if stop.is_set() else next(waiting, None)

    def work() -> None:
        try:
            while (taken := take()) is not None:
                index, item = taken
                results[index] = function(item)
        except BaseException:
            stop.set()
            raise

    workers = min(limit, len(items))
    with ThreadPoolExecutor(workers, thread_name_prefix="voxloom-client") as pool:
        try:
            for future in [pool.submit(work) for _ in range(workers)]:
                future.result()
        finally:
            stop.set()
    return [results[index] for index in range(len(results))]
