"""What is remembered of a stream without end: so many entries, the newest."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Newest(OrderedDict[K, V]):
    """The `most` entries that were written last, the oldest first. To write one again makes it the newest; to read one
    changes nothing, and costs what it costs with any dict. An OrderedDict, since a plain one finds its first entry ever
    more slowly the more were taken out before it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)
