"""Runs that wait for a kind of device that no worker has."""

from __future__ import annotations

from services.scheduler.state import Job, State


class Unserved:
    """Finds those that have waited for too long, and all that time for nobody."""

    def __init__(self, state: State, timeout: float) -> None:
        self._state = state
        self._timeout = timeout
        self._since: dict[tuple[str, ...], float] = {}
        """Since when nobody serves a line; later, since when the first of it has waited."""
        self._since_of: dict[str, float] = {}
        """Since when nobody serves a run that is to be tried alone."""

    def take(self, now: float) -> list[Job]:
        """Takes the runs out of their lines whose time is over."""
        waiting = self._state.waiting
        self._since = {devices: since for devices, since in self._since.items() if devices in waiting}
        jobs = self._suspects(now)
        for devices in list(waiting):
            if any(self._state.offered(device_class) for device_class in devices):
                self._since.pop(devices, None)
            elif now - self._since.setdefault(devices, now) > self._timeout:
                jobs += self._take_from(devices, now)
        return jobs

    def _suspects(self, now: float) -> list[Job]:
        """They wait one by one. Those that are taken are still among them, until they have ended."""
        unserved = {
            run: self._since_of.get(run, now)
            for run, job in self._state.suspects.items()
            if not any(map(self._state.offered, job.devices))
        }
        self._since_of = unserved
        return [self._state.suspects[run] for run, since in unserved.items() if now - since > self._timeout]

    def _take_from(self, devices: tuple[str, ...], now: float) -> list[Job]:
        jobs = self._state.empty(devices)
        late = [job for job in jobs if now - job.queued > self._timeout]
        rest = [job for job in jobs if now - job.queued <= self._timeout]
        for job in rest:
            self._state.enqueue(job, job.queued)
        self._since[devices] = min((job.queued for job in rest), default=now)
        return late
