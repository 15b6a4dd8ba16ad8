"""The embedded bus: what every bus does, and what only this one promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus.local import LocalBus
from tests.contract.bus_behaviour import BusBehaviour, Footing


class LocalFooting(Footing):
    """An embedded bus in a folder, which tidies up often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus: LocalBus = self.new_bus()

    def new_bus(self) -> LocalBus:
        return LocalBus(self.folder, housekeeping=0.1)

    async def reopen(self) -> LocalBus:
        await self.bus.close()
        self.bus = self.new_bus()
        await self.bus.open()
        return self.bus


@pytest.fixture
async def footing(tmp_path: Path) -> AsyncIterator[LocalFooting]:
    footing = LocalFooting(tmp_path / "bus")
    await footing.bus.open()
    yield footing
    await footing.bus.close()


class TestLocalBus(BusBehaviour):
    """All of it."""
