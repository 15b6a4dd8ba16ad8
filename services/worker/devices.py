"""Which devices this machine offers: the processor, cards that CUDA can use, and Apple's.

What people ask for is a class (`cpu`, `gpu`, `mps`); what a runner process gets is one device of it, and sees no other.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from messages.workers import Lane
from shared.settings import Settings

LOOK_SECS = 120.0
"""How long looking for cards may take: torch is slow to import from a cold disk."""
_DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""One of them is there where a driver for CUDA is, the second on Windows' Linux."""

log = logging.getLogger("voxloom.worker")


@dataclass(frozen=True)
class Device:
    """What one run at a time is given. `name` tells it apart from others of its kind (`cuda:1`)."""

    kind: str
    name: str
    visible: str = ""
    """For CUDA_VISIBLE_DEVICES: the one card, or none."""


@dataclass(frozen=True)
class Offer:
    """A lane, and the devices behind its slots: as many as there are slots."""

    lane: Lane
    devices: Sequence[Device]


Probe = Callable[[Settings], Sequence[Offer]]
"""Looks for one kind of device; none found is an empty answer. It may block."""


def probe_cpu(settings: Settings) -> list[Offer]:
    lane = Lane(device_class="cpu", device="cpu", slots=settings.slots)
    return [Offer(lane, [Device("cpu", "cpu")] * settings.slots)]


def probe_accelerators(settings: Settings) -> list[Offer]:
    """Cards for CUDA, and Apple's. They are looked at by a child process, which a broken driver may take down."""
    if platform.system() != "Darwin" and not any(file.exists() for file in _DRIVER_FILES):
        return []
    return offers_of(look(), settings, os.environ)


def look() -> Mapping[str, Any]:
    """What services/worker/gpu_probe.py has found; nothing where it fails."""
    # By its path: what was installed has these packages where only the server looks.
    command = [sys.executable, "-P", str(Path(__file__).with_name("gpu_probe.py"))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECS, check=True)  # noqa: S603  # our own module
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        log.warning("this machine has a driver for cards, but they cannot be looked at, and none is offered: %s", error)
        return {}
    if found.get("trouble"):
        log.warning("no card is offered: %s", found["trouble"])
    return found


def offers_of(found: Mapping[str, Any], settings: Settings, environment: Mapping[str, str]) -> list[Offer]:
    """What is offered of what was found. `environment`: an operator may have hidden cards from this worker."""
    offers = []
    if models := list(found.get("cuda", [])):
        devices = [
            Device("cuda", f"cuda:{number}", visible(number, environment)) for number in range(len(models))
        ] * settings.card_slots
        lane = Lane(device_class="gpu", device="cuda", slots=len(devices), cards=models)
        offers.append(Offer(lane, devices))
    if found.get("mps"):
        offers.append(Offer(Lane(device_class="mps", device="mps", slots=1), [Device("mps", "mps")]))
    return offers


def visible(number: int, environment: Mapping[str, str]) -> str:
    """How a process is shown the card of that number alone, where this worker itself may see only some."""
    shown = [one.strip() for one in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    return shown[number] if number < len(shown) else str(number)


PROBES: Sequence[Probe] = (probe_cpu, probe_accelerators)


def discover(settings: Settings, probes: Sequence[Probe] | None = None) -> list[Offer]:
    """All that this machine offers; the processor is always among it. Blocks."""
    return [offer for probe in (PROBES if probes is None else probes) for offer in probe(settings)]
