"""Systems that are treated badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.support import Footing


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[Callable[..., Footing]]:
    """Makes systems of the test's own."""
    made: list[Footing] = []

    def make(folder: Path | None = None, **settings: Any) -> Footing:
        place = folder or tmp_path / f"system{len(made)}"
        footing = Footing(place, **{"slots": 2, "grace": 1.0, **settings}).start()
        made.append(footing)
        return footing

    yield make
    for footing in made:
        footing.close()
