"""Items that runs with one token share: live objects, for as long as the process lives and the session is used.

What is kept is the object itself, so a change to it is there for the next run without saving it again. At the end of a
run its items are also written down, as far as that can be done, so that they are there for runs in other processes:
those of other algorithms, say, or on other machines. Only runner processes ever read them.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

ITEMS = 5
"""Per session; the one that was not used for the longest time goes first."""
EXPIRE_HOURS = 24.0


@dataclass(frozen=True)
class Limits:
    """Of one session in one process: how many items, their bytes together, the hours for which it is kept unused."""

    items: int = ITEMS
    size: int | None = None
    hours: float = EXPIRE_HOURS


class DataCache:
    """Items by key. `max_memory_mb` counts what `sys.getsizeof` says, or the bytes of arrays."""

    def __init__(self, max_size: int = ITEMS, max_memory_mb: float | None = None) -> None:
        self._max_size = max_size
        self._max_bytes = None if max_memory_mb is None else int(max_memory_mb * (1 << 20))
        self._items: OrderedDict[str, Any] = OrderedDict()
        self.removed_keys_len: set[str] = set()
        """Those that had to go because there were too many."""
        self.removed_keys_memory: set[str] = set()
        """Those that had to go because they were too large together."""
        self.created = time.monotonic()
        self.written: dict[str, str] = {}
        """The names of the contents that were written down or read last, by key."""

    def add_item(self, obj: Any, key: str) -> None:
        self._items[key] = obj
        self._items.move_to_end(key)
        self.removed_keys_len.discard(key)
        self.removed_keys_memory.discard(key)
        while len(self._items) > self._max_size:
            self.removed_keys_len.add(self._items.popitem(last=False)[0])
        while self._max_bytes is not None and len(self._items) > 1 and self._size() > self._max_bytes:
            self.removed_keys_memory.add(self._items.popitem(last=False)[0])

    def _size(self) -> int:
        return sum(getattr(item, "nbytes", None) or sys.getsizeof(item) for item in self._items.values())

    def __getitem__(self, key: str) -> Any:
        if key not in self._items:
            raise KeyError(self._why_not(key))
        self._items.move_to_end(key)
        return self._items[key]

    def peek(self, key: str) -> Any:
        """The item, which counts as no use of it."""
        return self._items[key]

    def _why_not(self, key: str) -> str:
        if key in self.removed_keys_len:
            return f"{key!r} is not in the session any more: it holds {self._max_size} items at most."
        if key in self.removed_keys_memory:
            return f"{key!r} is not in the session any more: its items were too large together."
        return f"{key!r} is not in the session."

    def remove_item(self, key: str) -> None:
        """Silent where there is none."""
        self._items.pop(key, None)

    def clear(self) -> None:
        self._items.clear()

    def names(self) -> list[str]:
        return list(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)


class Sessions:
    """Those of one process, by their tokens. One that was not used for long goes; no other ever makes it go."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._caches: dict[str, tuple[DataCache, float]] = {}

    def cache_of(self, token: str, limits: Limits = Limits()) -> DataCache:
        now = self._clock()
        for old in [one for one, (_, used) in self._caches.items() if now - used > limits.hours * 3600]:
            del self._caches[old]
        largest = None if limits.size is None else limits.size / (1 << 20)
        cache, _ = self._caches.get(token, (DataCache(limits.items, largest), now))
        self._caches[token] = (cache, now)
        return cache


class Keeper(Protocol):
    """Where items are written down. Files lie below the run's scratch folder."""

    def session_index(self) -> dict[str, str]:
        """By key, the name of its content: other contents, other names."""

    def session_fetch(self, key: str) -> Path | None:
        """A local file of that item; None if it has gone meanwhile."""

    def session_store(self, items: Mapping[str, Path], removed: Sequence[str]) -> dict[str, str]:
        """The names of the contents that were stored."""

    @property
    def scratch(self) -> Path: ...


class RunSession:
    """A session as one run uses it. Nobody is asked for anything before the run first does."""

    def __init__(self, find: Callable[[], DataCache], keeper: Keeper, log: Callable[[str], None]) -> None:
        """`find` gives what this process has of the session."""
        self._find = find
        self._cache = DataCache()
        self._keeper = keeper
        self._log = log
        self._index: dict[str, str] | None = None
        self._touched: set[str] = set()
        self._removed: set[str] = set()

    def save(self, obj: Any, key: str) -> None:
        self._begin()
        self._cache.add_item(obj, key)
        self._touched.add(key)
        self._removed.discard(key)

    def load(self, key: str) -> Any:
        """Raises KeyError, which says why."""
        index = self._begin()
        if key not in self._cache and key in index:
            self._bring(key, index[key])
        item = self._cache[key]
        self._touched.add(key)
        return item

    def remove(self, key: str) -> None:
        """Raises KeyError only where the session holds nothing at all."""
        index = self._begin()
        if not len(self._cache) and not index:
            raise KeyError(f"The session holds nothing, so {key!r} cannot be removed.")
        self._cache.remove_item(key)
        self._touched.discard(key)
        self._removed.add(key)

    def _begin(self) -> dict[str, str]:
        """What another process has written since counts, and not what this one has of it."""
        if self._index is None:
            self._index = self._keeper.session_index()
            self._cache = self._find()
            for key in self._cache.names():
                known = self._cache.written.get(key)
                if known is not None and self._index.get(key) != known:
                    self._cache.remove_item(key)
        return self._index

    def _bring(self, key: str, name: str) -> None:
        path = self._keeper.session_fetch(key)
        if path is None:
            return
        try:
            item = pickle.loads(path.read_bytes())  # noqa: S301  # written by a runner process of the same project
        except Exception as error:  # whatever the class of the item does
            raise KeyError(
                f"{key!r} is in the session, but cannot be used here ({type(error).__name__}: {error}): items that "
                "only one algorithm can read are for its own runs."
            ) from error
        self._cache.add_item(item, key)
        self._cache.written[key] = name

    def end(self) -> None:
        """Writes down what the run has used. What cannot be stays in this process alone."""
        if self._index is None:
            return
        gone = self._removed | {key for key in self._cache.written if key not in self._cache}
        items = {key: path for key in sorted(self._touched) if (path := self._written(key)) is not None}
        if not items and not gone:
            return
        names = self._keeper.session_store(items, sorted(gone))
        for key in gone:
            self._cache.written.pop(key, None)
        self._cache.written.update(names)

    def _written(self, key: str) -> Path | None:
        """A file of the item as it is now; None where it is as it was, or cannot be written."""
        if key not in self._cache:
            return None
        try:
            content = pickle.dumps(self._cache.peek(key), protocol=5)
        except Exception as error:  # noqa: BLE001  # whatever the class of the item does
            self._log(f"The session's item {key!r} stays in this process: it cannot be written down ({error}).")
            return None
        if hashlib.sha256(content).hexdigest() == self._cache.written.get(key):
            return None
        path = self._keeper.scratch / f"session-{uuid.uuid4().hex}"
        path.write_bytes(content)
        return path


class TaskSession:
    """A session of this process alone, as Compox has it, for debugging. Making one ends those that are older than its
    `expire_hours`; leaving its `with` block ends nothing."""

    data_caches: ClassVar[OrderedDict[str, DataCache]] = OrderedDict()

    def __init__(
        self,
        session_token: str | None = None,
        max_number_of_data_caches: int = 5,
        max_cache_size: int = ITEMS,
        max_cache_memory_mb: float | None = None,
        expire_hours: float = EXPIRE_HOURS,
        not_implemented: bool = False,
    ) -> None:
        self.session_token = session_token or str(uuid.uuid1())
        self.not_implemented = not_implemented
        caches = type(self).data_caches
        for old in [one for one, cache in caches.items() if _age_of(cache) > expire_hours * 3600]:
            del caches[old]
        if self.session_token not in caches:
            caches[self.session_token] = DataCache(max_cache_size, max_cache_memory_mb)
        caches.move_to_end(self.session_token)
        while len(caches) > max_number_of_data_caches:
            caches.popitem(last=False)

    @property
    def _cache(self) -> DataCache:
        if self.not_implemented:
            raise NotImplementedError("There are no sessions here.")
        return type(self).data_caches[self.session_token]

    def add_item(self, obj: Any, key: str) -> None:
        self._cache.add_item(obj, key)

    def remove_item(self, key: str) -> None:
        """Raises KeyError only where the session holds nothing at all."""
        if not len(self._cache):
            raise KeyError(f"The session holds nothing, so {key!r} cannot be removed.")
        self._cache.remove_item(key)

    def clear_cache(self) -> None:
        self._cache.clear()

    def __getitem__(self, key: str) -> Any:
        return self._cache[key]

    def __contains__(self, key: object) -> bool:
        return key in self._cache

    def __len__(self) -> int:
        return len(self._cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is in it stays for the next session with its token."""


def _age_of(cache: DataCache) -> float:
    return time.monotonic() - cache.created
