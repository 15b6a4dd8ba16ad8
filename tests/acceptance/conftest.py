"""Systems for the tests: one that many share, and some that a test may kill. On every footing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.acceptance.cluster import ONE_BUCKET, ONE_OF_EACH, Cluster
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Api, Footing, generic
from tests.s3server import KEYS
from tests.sharing import end_with_group

Make = Callable[..., Footing]
MILD = {"slots": 2, "grace": 1.0, "check_timeout": 120.0}


@pytest.fixture(scope="session", params=["embedded", "cluster"])
def make_footing(request: pytest.FixtureRequest, nursery: Nursery) -> Make:
    """Makes a system in a folder, not started yet: all in one process, or a process per service and one for each that
    is `more`, on a broker and a store of which each system has a part of its own."""
    if request.param == "embedded":
        return lambda folder, more=(), store=(), services=(), **settings: Footing(folder, nursery, **settings)
    broker, s3 = request.getfixturevalue("broker"), request.getfixturevalue("living_store")

    def make(
        folder: Path,
        more: Sequence[str] = (),
        store: Sequence[str] = (ONE_BUCKET,),
        services: Sequence[str] = ONE_OF_EACH,
        **settings: Any,
    ) -> Cluster:
        places = broker.new_vhost(), s3.url(*store), KEYS
        services = (*services, *more)
        return Cluster(folder, *places, nursery, services=services, leave=broker.remove_vhost, **settings)

    return make


@pytest.fixture(scope="session")
def system(
    make_footing: Make, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Footing]:
    """A system that many tests share. What one gateway has answered, the other has to know."""
    footing = make_footing(tmp_path_factory.mktemp("system"), more=["gateway"], store=[], **MILD)
    end_with_group(pytestconfig, footing.close)
    try:
        yield footing.start()
    finally:
        footing.close()


@pytest.fixture
def api(system: Footing) -> Iterator[Api]:
    api = system.new_api()
    yield api
    api.close()


@pytest.fixture
def new_system(make_footing: Make, tmp_path: Path) -> Iterator[Make]:
    """Makes systems of the test's own, which it may kill and start again."""
    yield from making(make_footing, tmp_path)


@pytest.fixture(scope="module")
def patient_system(make_footing: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footing]:
    footing = make_footing(tmp_path_factory.mktemp("mortal"), slots=2, grace=30.0, drain=20.0)
    yield footing
    footing.close()


@pytest.fixture
def mortal(patient_system: Footing) -> Footing:
    """A running system that the tests of a file share, and that they may kill and start again; a stop gives what runs
    some time."""
    return patient_system if patient_system.running else patient_system.start()


@pytest.fixture
def new_embedded(tmp_path: Path, nursery: Nursery) -> Iterator[Make]:
    """The same, for what only one footing promises."""
    yield from making(lambda folder, **settings: Footing(folder, nursery, **settings), tmp_path)


@pytest.fixture
def closed_system(tmp_path: Path, nursery: Nursery) -> Iterator[Footing]:
    """One that asks who people are. It is not started yet, and nobody may use it."""
    footing = Footing(tmp_path / "closed", nursery, **MILD, auth="closed")
    yield footing
    footing.close()


def making(make_footing: Make, folder: Path) -> Iterator[Make]:
    made: list[Footing] = []

    def make(**settings: Any) -> Footing:
        made.append(make_footing(folder / f"system{len(made)}", **{**MILD, **settings}))
        return made[-1].start()

    yield make
    for footing in made:
        footing.close()


@pytest.fixture(scope="session")
def noop(system: Footing) -> str:
    """The id of an algorithm that gives its input ids back."""
    return system.api().deployed(generic("noop", "pass"))


@pytest.fixture
def volume() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((16, 32, 32), dtype=np.float32)
