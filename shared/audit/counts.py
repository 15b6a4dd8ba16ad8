"""What happens too often for an entry each: counted together, by the minute, in bounded memory whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from voxloom.ids import new_id
from voxloom.models import AuditEntry, Outcome, format_time, utc_now

MOST_APART = 100
"""Kinds in a minute, of those who have proven who they are and of those who have not; all others count as one."""
OTHERS = "others"


class What(NamedTuple):
    """Of these, equal ones are counted together."""

    action: str
    outcome: Outcome
    project: str
    actor: str | None = None
    token_id: str | None = None
    address: str = ""
    code: str | None = None
    subject: str = ""


class Counts:
    def __init__(self, note: Callable[[AuditEntry], None]) -> None:
        self._note = note
        self._counted: dict[What, AuditEntry] = {}
        self._apart = {True: 0, False: 0}
        self._minute = ""

    def roll(self) -> str:
        """A minute that is over goes on to be written. Returns what time it is."""
        now = format_time(utc_now())
        if now[:16] != self._minute:
            self.close()
            self._minute = now[:16]
        return now

    def add(self, what: What) -> None:
        now = self.roll()
        if what not in self._counted:
            what = self._placed(what)
        known = self._counted.get(what)
        if known is None:
            self._counted[what] = AuditEntry(entry_id=new_id(), time=now, **what._asdict())
        else:
            self._counted[what] = known.model_copy(update={"count": known.count + 1})

    def _placed(self, what: What) -> What:
        proven = what.actor is not None
        if self._apart[proven] < MOST_APART:
            self._apart[proven] += 1
            return what
        return What(what.action, what.outcome, "system", address=OTHERS)

    def close(self) -> None:
        """What was counted goes on to be written."""
        for entry in self._take():
            self._note(entry)

    def _take(self) -> Iterator[AuditEntry]:
        counted, self._counted = self._counted, {}
        self._apart = {True: 0, False: 0}
        yield from counted.values()
