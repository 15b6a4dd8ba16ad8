"""The recorder's memory of one kind of records: what has not ended, and what ended lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic

from messages.base import Event
from shared.records.kinds import RecordKind, S


class Shelf(Generic[S]):
    """No I/O. `clock` gives seconds that only ever grow."""

    def __init__(self, kind: RecordKind[S], states: Iterable[S], clock: Callable[[], float]) -> None:
        self.kind = kind
        self.states = {state.identity: state for state in states}
        self._clock = clock
        self._kept: dict[str, tuple[S, float]] = {}
        """Those that have objects of their own, as they stand there, and since when, the longest first."""

    def apply(self, event: Event) -> None:
        self.states[event.subject] = self.kind.fold(self.states.get(event.subject), event)

    def to_store(self) -> list[S]:
        """What has ended and has no object of its own yet, or another one than it should."""
        return [state for state in self.states.values() if state.ended and not self._is_kept(state)]

    def stored(self, states: Iterable[S]) -> None:
        """They stay in memory for a while: what is delivered again says more about the same thing."""
        now = self._clock()
        for state in states:
            self._kept.pop(state.identity, None)
            self._kept[state.identity] = (state, now)

    def _is_kept(self, state: S) -> bool:
        kept = self._kept.get(state.identity)
        return kept is not None and kept[0] is state

    def forget(self, limit: float) -> None:
        """Lets go of what was stored at `limit` or before, and has not changed since."""
        old = [identity for identity, (_, since) in self._kept.items() if since <= limit]
        for identity in old:
            state, _ = self._kept.pop(identity)
            if self.states[identity] is state:
                del self.states[identity]
