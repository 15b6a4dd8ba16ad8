"""What the gateway knows of the records of one kind, runs apart: those that go on, and the newest that have ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from messages.base import Event
from services.gateway.views.arrivals import Arrivals
from shared.newest import Newest
from shared.records.kinds import RecordKind, S
from shared.records.store import RecordStore

KEPT = 1_000
"""Of those that have ended."""


class RecordView(Generic[S]):
    def __init__(self, kind: RecordKind[S], records: RecordStore) -> None:
        self._kind = kind
        self._records = records
        self._going_on: dict[str, S] = {}
        self._ended: Newest[str, S] = Newest(KEPT)
        self._arrivals = Arrivals()
        self._knows_old_ones = False

    def restore(self, states: Iterable[S]) -> None:
        """Takes in what the recorder knew; the stream says the rest."""
        for state in states:
            self._place(state)

    def apply(self, event: Event) -> None:
        self._place(self._kind.fold(self._known(event.subject), event))

    def unfinished(self) -> list[str]:
        """Those that are not known to have ended, the oldest first."""
        return sorted(self._going_on)

    def going_on(self) -> list[S]:
        """What is known of those."""
        return list(self._going_on.values())

    async def find(self, identity: str) -> S | None:
        """One that may still be on its way to us is waited for."""
        if self._known(identity) is None:
            await self._arrivals.expect(identity)
        return await self.look_up(identity)

    async def look_up(self, identity: str) -> S | None:
        """As `find`, but waits for nothing."""
        return self._known(identity) or await self._records.load(self._kind, identity)

    async def look(self, identity: str) -> S | None:
        """What the records say of it if it has ended there, though that was not heard; else what was heard."""
        kept = await self._records.load(self._kind, identity)
        if kept is None or not kept.ended:
            return self._known(identity)
        self._place(kept)
        return kept

    async def newest(self) -> list[S]:
        """Those that go on, and of the others the newest: KEPT of them at most."""
        if not self._knows_old_ones:
            for state in await self._records.newest(self._kind, KEPT):
                self._place_old(state)
            self._knows_old_ones = True
        return [*self._going_on.values(), *self._ended.values()]

    def _place(self, state: S) -> None:
        if state.ended:
            self._going_on.pop(state.identity, None)
            self._ended[state.identity] = state
        else:
            self._going_on[state.identity] = state
        self._arrivals.note(state.identity)

    def _place_old(self, state: S) -> None:
        """Behind all that were heard to end."""
        if self._known(state.identity) is None and len(self._ended) < KEPT:
            self._ended[state.identity] = state
            self._ended.move_to_end(state.identity, last=False)

    def _known(self, identity: str) -> S | None:
        return self._going_on.get(identity) or self._ended.get(identity)
