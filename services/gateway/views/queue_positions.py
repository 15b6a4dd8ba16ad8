"""Which runs wait, in the order in which the scheduler takes them: to say of one how many come first.

The scheduler decides by what it knows itself; this is what can be seen of it from the events. To find a run in its line
takes a logarithm of steps, so thousands may be asked for at the same time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from shared.records.fold import RunState
from voxloom.models import Status, Waiting, WaitingReason

_Place = tuple[int, float, str]
"""Negative priority, submit time, run: what sorts a line."""


class Line(NamedTuple):
    """Runs that want the same: these device classes, the first of them that any worker has; of one project."""

    devices: tuple[str, ...]
    project: str


class Offers(NamedTuple):
    """What workers have, by device class."""

    slots: Mapping[str, int]
    """Of those that live and take runs."""
    away: Collection[str]
    """Classes that those have who are not heard."""


class _Held(NamedTuple):
    device_class: str
    project: str


class WaitingLines:
    """Follows the states of all runs that have not ended."""

    def __init__(self) -> None:
        self._lines: dict[Line, list[_Place]] = {}
        self._waiting: dict[str, tuple[Line, _Place]] = {}
        self._leased: dict[str, _Held] = {}
        """Runs that workers have."""
        self._of_class: Counter[str] = Counter()
        self._held_of: Counter[str] = Counter()
        self._waiting_of: Counter[str] = Counter()
        """By project."""

    def note(self, state: RunState) -> None:
        """To be called after every change of a run's status."""
        self._forget(state.run)
        if state.ended or state.work is None or state.submitted is None:
            return
        if state.status is Status.PENDING:
            line = Line(tuple(state.work.devices), state.project)
            place = (-state.work.priority, state.submitted.timestamp(), state.run)
            insort(self._lines.setdefault(line, []), place)
            self._waiting[state.run] = line, place
            self._waiting_of[state.project] += 1
        else:
            held = _Held((state.stage.device_class if state.stage else None) or "", state.project)
            self._leased[state.run] = held
            self._count(held, 1)

    def _forget(self, run: str) -> None:
        if (waited := self._waiting.pop(run, None)) is not None:
            line, place = waited
            places = self._lines[line]
            del places[bisect_left(places, place)]
            if not places:
                del self._lines[line]
            self._waiting_of[line.project] -= 1
        if (held := self._leased.pop(run, None)) is not None:
            self._count(held, -1)

    def _count(self, held: _Held, more: int) -> None:
        self._of_class[held.device_class] += more
        self._held_of[held.project] += more

    def held_of(self, project: str) -> int:
        """How many of a project's runs workers have."""
        return self._held_of[project]

    def waiting_of(self, project: str) -> int:
        """How many of a project's runs wait for a worker."""
        return self._waiting_of[project]

    def why(self, run: str, offers: Offers, at_once: int | None = None) -> Waiting | None:
        """Why this run waits; None where it does not wait for a worker. `at_once`: so many runs of its project workers
        may have at a time."""
        found = self._waiting.get(run)
        if found is None:
            return None
        line, place = found
        wanted = _served_by(line, offers)
        if wanted is None:
            away = any(device in offers.away for device in line.devices)
            return Waiting(reason="worker_away" if away else "no_device")
        ahead = self._ahead(line, place, wanted, offers)
        free = offers.slots[wanted] - self._of_class[wanted]
        allowed = None if at_once is None else at_once - self._held_of[line.project]
        return Waiting(reason=_reason(ahead, free, allowed), ahead=ahead)

    def _ahead(self, line: Line, place: _Place, wanted: str, offers: Offers) -> int:
        """Those of one's own project: how much others have waiting is theirs to know, and makes no difference. They get
        their share of the time."""
        own = (one for one in self._lines if one.project == line.project and _served_by(one, offers) == wanted)
        return sum(bisect_left(self._lines[one], place) for one in own)


def _reason(ahead: int, free: int, allowed: int | None) -> WaitingReason:
    """`free` slots there are; `allowed`: so many more runs workers may have of this project."""
    if allowed is not None and (allowed <= 0 or allowed <= ahead < free):
        return "project_limit"
    return "starting" if ahead < free else "others_first"


def _served_by(line: Line, offers: Offers) -> str | None:
    """The device class that this line waits for: the first that is offered at all, as the scheduler has it."""
    return next((device for device in line.devices if device in offers.slots), None)
