"""Systems that are treated badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import ONE_BUCKET, ONE_OF_EACH, STANDBYS, Cluster
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing
from tests.brokers import Broker, vhost_of
from tests.chaos.load import Notes
from tests.chaos.loops import Loops, loops_of
from tests.s3server import KEYS, S3Server

WITH_STANDBYS = (*ONE_OF_EACH, *STANDBYS)
PAIRS = (*WITH_STANDBYS, "worker", "gateway")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("seeds")))


@pytest.fixture(scope="session")
def loops(pytestconfig: pytest.Config) -> Loops:
    return loops_of(pytestconfig)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


@pytest.fixture
def new_system(tmp_path: Path, nursery: Nursery) -> Iterator[Callable[..., Footing]]:
    """Makes systems of the test's own."""
    made: list[Footing] = []

    def make(folder: Path | None = None, **settings: Any) -> Footing:
        place = folder or tmp_path / f"system{len(made)}"
        footing = Footing(place, nursery, **{"slots": 2, "grace": 1.0, **settings}).start()
        made.append(footing)
        return footing

    yield make
    for footing in made:
        footing.close()


@pytest.fixture(scope="module")
def kept_cluster(
    broker: Broker, s3_server: S3Server, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kept")
    places = broker.new_vhost(), s3_server.url(ONE_BUCKET), KEYS
    cluster = Cluster(folder, *places, nursery, services=PAIRS, leave=broker.remove_vhost, slots=2, grace=1.0)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(kept_cluster: Cluster) -> Cluster:
    """One that the tests of a file share; they may kill its processes. It is whole when a test begins."""
    return whole(kept_cluster)


@pytest.fixture(scope="module")
def beaten_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("beaten-store") / "log").start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def kept_beaten_cluster(
    beaten_broker: Broker, beaten_store: S3Server, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kept-beaten")
    if not beaten_broker.running:
        beaten_broker.start()
    places = beaten_broker.new_vhost(), beaten_store.url(ONE_BUCKET), KEYS
    cluster = Cluster(folder, *places, nursery, services=WITH_STANDBYS, slots=4, grace=1.0, claim_timeout=2.0)
    yield cluster
    cluster.close()


@pytest.fixture
def beaten_cluster(own_broker: Broker, kept_beaten_cluster: Cluster) -> Cluster:
    """The same on `own_broker` and `beaten_store`, to which a test may do what it likes, if they live in the end."""
    own_broker.add_vhost(vhost_of(kept_beaten_cluster.broker))  # it may have forgotten
    return whole(kept_beaten_cluster)


def whole(cluster: Cluster) -> Cluster:
    if not cluster.running:
        return cluster.start()
    cluster.mend()
    return cluster
