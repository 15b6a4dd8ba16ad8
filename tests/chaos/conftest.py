"""Systems that are treated badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.nursery import Nursery
from tests.acceptance.support import Footing
from tests.brokers import Broker
from tests.s3server import KEYS, S3Server


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


@pytest.fixture(scope="module")
def kept_cluster(
    broker: Broker, s3_server: S3Server, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kept")
    cluster = Cluster(folder, broker.new_vhost(), s3_server.url(), KEYS, nursery, slots=2, grace=1.0)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(kept_cluster: Cluster) -> Cluster:
    """One that the tests of a file share; they may kill its processes. It is whole when a test begins."""
    if kept_cluster.running:
        kept_cluster.mend()
        return kept_cluster
    return kept_cluster.start()


@pytest.fixture
def new_cluster(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes systems whose services are apart, on the broker and the store that the tests share unless others are
    given."""
    made: list[Cluster] = []

    def make(*, broker: Broker | None = None, store: S3Server | None = None, **settings: Any) -> Cluster:
        places = broker or request.getfixturevalue("broker"), store or request.getfixturevalue("s3_server")
        vhost, buckets = places[0].new_vhost(), places[1].url()
        settings = {"slots": 2, "grace": 1.0, **settings}
        made.append(Cluster(tmp_path / f"c{len(made)}", vhost, buckets, KEYS, nursery, **settings))
        return made[-1].start()

    yield make
    for cluster in made:
        cluster.close()
