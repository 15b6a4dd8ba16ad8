"""Processes on the same broker that use another object store. No I/O, and time is passed in."""

from __future__ import annotations

from messages.services import ServiceHeartbeat
from shared.newest import Newest

MOST_TOLD = 1000
"""Strangers that are remembered as told of."""


class Strangers:
    """`mark`: of the store that this process uses; empty: it does not know, and nobody is a stranger."""

    def __init__(self, mark: str = "") -> None:
        self.mark = mark
        self._heard: dict[str, tuple[float, str]] = {}
        """subject → when it was heard last, and what is wrong."""
        self._alike: dict[str, float] = {}
        """Of those who use the same store: subject → when it was heard last."""
        self._told: Newest[tuple[str, ...], None] = Newest(MOST_TOLD)

    def hear(self, event: ServiceHeartbeat, now: float) -> str | None:
        """What to tell people, when a stranger is heard for the first time. One that starts again and again is told of
        once."""
        if not self.mark or not event.store:
            return None
        if event.store == self.mark:
            self._alike[event.subject] = now
            return None
        fault = self._heard[event.subject] = (now, told(event))
        key = (event.host, event.store, *event.services)
        if key in self._told:
            return None
        self._told[key] = None
        return fault[1]

    def faults(self) -> list[str]:
        return sorted({fault for _, fault in self._heard.values()})

    def doubts(self) -> list[str]:
        """The same where this process may be the one that is wrong: one with a wrong setting must not take away all
        the others, of whom there are more."""
        return self.faults() if len(self._heard) > len(self._alike) else []

    def forget(self, before: float) -> None:
        """Those who were not heard since."""
        self._heard = {subject: one for subject, one in self._heard.items() if one[0] >= before}
        self._alike = {subject: moment for subject, moment in self._alike.items() if moment >= before}


def told(event: ServiceHeartbeat) -> str:
    names = " and ".join(event.services) or "a process"
    return (
        f"the {names} on {event.host or 'another machine'} (process {event.pid}) uses another object store than this "
        "process: give all services the same `store`, and start again those that had the wrong one"
    )
