"""The lanes of a worker: so many runs at once on the devices of one class."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from messages.workers import Lane
from services.worker.devices import Device, Offer

if TYPE_CHECKING:
    from services.worker.attempt import Attempt

NO_LANE = Lane(device_class="", device="", slots=0)


class LaneQueue:
    """The devices of one lane that are free, and the attempts that wait for one."""

    def __init__(self, offer: Offer) -> None:
        self.lane = offer.lane
        self.free = list(offer.devices)
        self.waiting: deque[Attempt] = deque()

    def take(self, is_warm: Callable[[Device], bool]) -> Device:
        """One that is free, if there is one with a process that has all loaded already."""
        device = next(filter(is_warm, self.free), self.free[0])
        self.free.remove(device)
        return device
