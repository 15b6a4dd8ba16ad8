"""Which queues a routing key reaches, without trying every pattern for every event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from shared.bus.topology import matches

T = TypeVar("T")

# Kinds come from event classes; only messages published as bytes could bring others.
_MOST_KINDS = 4096


def kind_of(key: str) -> str:
    """The first two words of a routing key: `execution.started`."""
    second = key.find(".", key.find(".") + 1)
    return key if second < 0 else key[:second]


def decided_by_kind(pattern: str) -> bool:
    """Whether the first two words of a key settle if it fits: `a.b.#`, `*.b.#`, `a.#`, `#`."""
    *words, last = pattern.split(".")
    return last == "#" and len(words) <= 2 and "#" not in words


class Routes(Generic[T]):
    """Targets by their patterns. What the kind of a key decides is worked out once per kind."""

    def __init__(self) -> None:
        self._patterns: dict[T, tuple[str, ...]] = {}
        self._exact: dict[str, list[T]] = {}
        self._kinds: dict[str, tuple[tuple[T, ...], tuple[tuple[str, T], ...]]] = {}

    def bind(self, target: T, patterns: Iterable[str]) -> None:
        """From now on exactly these patterns lead to `target`."""
        self._patterns[target] = tuple(patterns)
        self._rebuild()

    def unbind(self, target: T) -> None:
        if self._patterns.pop(target, None) is not None:
            self._rebuild()

    def find(self, keys: Sequence[str]) -> Sequence[T]:
        """Every target that one of `keys` reaches, each once."""
        if len(keys) == 1:
            return self._find_one(keys[0])
        return tuple(dict.fromkeys(target for key in keys for target in self._find_one(key)))

    def _find_one(self, key: str) -> Sequence[T]:
        kind = kind_of(key)
        sure, doubtful = self._kinds.get(kind) or self._learn(kind)
        exact = self._exact.get(key)
        if not doubtful and exact is None:
            return sure
        fitting = [target for pattern, target in doubtful if matches(pattern, key)]
        return tuple(dict.fromkeys([*sure, *fitting, *(exact or ())]))

    def _learn(self, kind: str) -> tuple[tuple[T, ...], tuple[tuple[str, T], ...]]:
        sure: dict[T, None] = {}
        doubtful: list[tuple[str, T]] = []
        for target, patterns in self._patterns.items():
            for pattern in patterns:
                if decided_by_kind(pattern):
                    if matches(pattern, kind):
                        sure[target] = None
                elif "*" in pattern or "#" in pattern:
                    doubtful.append((pattern, target))
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = learnt = (tuple(sure), tuple(doubtful))
        return learnt

    def _rebuild(self) -> None:
        self._kinds.clear()
        self._exact = {}
        for target, patterns in self._patterns.items():
            for pattern in patterns:
                if "*" not in pattern and "#" not in pattern:
                    self._exact.setdefault(pattern, []).append(target)
