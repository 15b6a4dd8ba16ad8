"""Servers that all processes of a run share: started once, by whoever is asked first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sharing import PREFIX, Keeper, facts_of, remove_abandoned

Make = Callable[[Path], "FakeServer"]


class FakeServer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.killed = False

    @property
    def facts(self) -> dict[str, Any]:
        return {"folder": str(self.folder)}

    def kill(self) -> None:
        self.killed = True


def broken(_folder: Path) -> FakeServer:
    raise RuntimeError("no such program")


@pytest.fixture
def made() -> list[FakeServer]:
    return []


@pytest.fixture
def keeper(made: list[FakeServer]) -> Iterator[Keeper]:
    def make(folder: Path) -> FakeServer:
        made.append(FakeServer(folder))
        return made[-1]

    keeper = Keeper({"one": make, "broken": broken})
    yield keeper
    keeper.close()


def test_a_server_is_started_once_and_ends_with_its_keeper(keeper: Keeper, made: list[FakeServer]) -> None:
    told = [facts_of("one", keeper.address) for _ in range(2)]
    keeper.close()
    assert told == [made[0].facts] * 2
    assert [server.killed for server in made] == [True]


def test_who_asks_for_a_server_that_does_not_start_is_told_why(keeper: Keeper) -> None:
    with pytest.raises(RuntimeError, match="broken did not start: no such program"):
        facts_of("broken", keeper.address)


def test_what_a_run_that_was_killed_has_left_is_removed_and_a_living_one_is_spared(
    keeper: Keeper, tmp_path: Path
) -> None:
    (abandoned := tmp_path / f"{PREFIX}dead").mkdir()
    living = tmp_path / f"{PREFIX}living"
    living.symlink_to(Path(keeper.address).parent)
    remove_abandoned(tmp_path, older_than=0.0)
    assert (abandoned.exists(), Path(keeper.address).exists()) == (False, True)
