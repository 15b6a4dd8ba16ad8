"""What reads access tokens is an extra: who sets a provider without it is told so."""

from __future__ import annotations

import sys

import pytest

from services.gateway.service import Gateway
from shared.oidc.provider import check_library
from shared.settings import Settings
from voxloom.errors import Misconfigured

PROVIDER = {"oidc_issuer": "https://login.example", "oidc_audience": "voxloom"}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.delitem(sys.modules, "shared.oidc.keys", raising=False)


@pytest.mark.usefixtures("without")
def test_a_server_with_a_provider_does_not_start_without_the_library() -> None:
    with pytest.raises(Misconfigured, match=r"pip install 'voxloom\[oidc\]'"):
        Gateway.check(Settings.model_validate({"auth": "closed", **PROVIDER}))


@pytest.mark.usefixtures("without")
def test_a_server_without_a_provider_needs_no_library() -> None:
    Gateway.check(Settings(auth="closed"))


def test_the_library_is_there_for_these_tests() -> None:
    check_library()
