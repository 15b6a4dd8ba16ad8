"""What the tests of S3 stores share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.s3_proxy import Proxy
from tests.s3server import KEYS, S3Server


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tests' server, where the library looks for them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def s3_proxy(s3_server: S3Server) -> AsyncIterator[Proxy]:
    proxy = await Proxy(s3_server.endpoint).start()
    yield proxy
    await proxy.stop()
