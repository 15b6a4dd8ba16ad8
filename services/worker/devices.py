"""Which device classes this machine offers, and how many runs at once on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from messages.workers import Lane
from shared.settings import Settings

Probe = Callable[[Settings], Sequence[Lane]]
"""Looks for one kind of device; none found is an empty answer."""


def probe_cpu(settings: Settings) -> list[Lane]:
    return [Lane(device_class="cpu", device="cpu", slots=settings.slots)]


PROBES: Sequence[Probe] = (probe_cpu,)


def discover(settings: Settings, probes: Sequence[Probe] = PROBES) -> list[Lane]:
    """All lanes of this machine; the cpu's is always among them."""
    return [lane for probe in probes for lane in probe(settings)]
