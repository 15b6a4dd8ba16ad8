"""How often the system is treated badly: a few times in `make test`, for long in `make chaos`."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest


@dataclass(frozen=True)
class Loops:
    kills: int
    runs: int
    rounds: int
    frozen_secs: float


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "how often the system is treated badly (make chaos: often)")
    group.addoption("--kills", type=int, default=3, help="of the whole system, and of what has a standby (%(default)s)")
    group.addoption("--runs", type=int, default=60, help="that are under way when something happens (%(default)s)")
    group.addoption("--seeds", type=int, default=3, help="storms at random (%(default)s)")
    group.addoption("--rounds", type=int, default=1, help="freezes, lost disks, restarts in one system (%(default)s)")
    group.addoption("--frozen-secs", type=float, default=2.5, help="how long a standstill lasts (%(default)s)")


def loops_of(config: pytest.Config) -> Loops:
    return Loops(**{field.name: config.getoption(field.name) for field in fields(Loops)})
