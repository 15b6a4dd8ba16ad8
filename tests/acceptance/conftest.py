"""Systems for the tests: one that many share, and some that a test may kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.acceptance.support import Api, Footing, generic


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footing]:
    """A system that many tests share."""
    footing = Footing(tmp_path_factory.mktemp("system"), slots=2, grace=1.0).start()
    yield footing
    footing.close()


@pytest.fixture
def api(system: Footing) -> Iterator[Api]:
    api = Api(system)
    yield api
    api.close()


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[Callable[..., Footing]]:
    """Makes systems of the test's own, which it may kill and start again."""
    made: list[Footing] = []

    def make(**settings: Any) -> Footing:
        footing = Footing(tmp_path / f"system{len(made)}", **{"slots": 2, "grace": 1.0, **settings}).start()
        made.append(footing)
        return footing

    yield make
    for footing in made:
        footing.close()


@pytest.fixture(scope="session")
def noop(system: Footing) -> str:
    """The id of an algorithm that gives its input ids back."""
    return str(system.api().deploy(generic("noop", "pass"))["algorithm_id"])


@pytest.fixture
def volume() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((16, 32, 32), dtype=np.float32)
