"""What was published on one channel and the broker has not confirmed yet."""

from __future__ import annotations

import asyncio


class _Batch:
    """Messages of one write, with consecutive tags."""

    def __init__(self, first: int, count: int) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._first = first
        self._left = count
        self._good = count
        """So many, from the first on, may all have been confirmed."""

    def hear(self, tag: int, good: bool) -> None:
        self._left -= 1
        if not good:
            self._good = min(self._good, tag - self._first)
        if not self._left and not self.done.done():
            self.done.set_result(self._good)


class Confirms:
    """The broker counts the messages of a channel from 1, and confirms them in any order, one or many at a time."""

    def __init__(self, insists: bool = True) -> None:
        self.insists = insists
        """Whether what the broker refuses is not confirmed."""
        self._open: dict[int, _Batch] = {}
        self._last = 0
        self._lost = False

    def expect(self, count: int) -> asyncio.Future[int]:
        """Of the next messages on the channel. Done when each was answered: so many of them, from the first on,
        are confirmed."""
        batch = _Batch(self._last + 1, count)
        self._open.update(dict.fromkeys(range(self._last + 1, self._last + count + 1), batch))
        self._last += count
        if self._lost:
            self.lose()
        return batch.done

    def hear(self, tag: int, *, good: bool, multiple: bool) -> None:
        """`multiple`: that message and all before it."""
        tags = [one for one in self._open if one <= tag] if multiple else [tag]
        for one in tags:
            if (batch := self._open.pop(one, None)) is not None:
                batch.hear(one, good)

    def lose(self) -> None:
        """Nothing more is heard on this channel."""
        self._lost = True
        self.hear(self._last, good=False, multiple=True)
