"""A store whose server is behind a proxy that loses answers, and what others have of the same place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.objects.s3 import S3ObjectStore, S3Place
from tests.contract.s3_process import ONE_BUCKET
from tests.contract.s3_proxy import Proxy, fail, lose
from tests.s3server import S3Server, new_name

HOW_LOST = pytest.mark.parametrize("how", [lose, fail], ids=["the connection breaks", "it is said to have failed"])


@pytest.fixture
def name() -> str:
    """Of the bucket."""
    return f"{new_name()}all"


@pytest.fixture
async def store(s3_proxy: Proxy, s3_server: S3Server, name: str, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
    """Its server is behind the proxy."""
    store = S3ObjectStore(
        S3Place.from_url(s3_server.url(ONE_BUCKET, endpoint=s3_proxy.url, name=name)), tmp_path / "node"
    )
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def others(s3_server: S3Server, name: str, tmp_path: Path) -> AsyncIterator[S3ObjectStore]:
    """What other machines have of the same place; nothing is between it and the server."""
    store = S3ObjectStore(S3Place.from_url(s3_server.url(ONE_BUCKET, name=name)), tmp_path / "other node")
    await store.open()
    yield store
    await store.close()
