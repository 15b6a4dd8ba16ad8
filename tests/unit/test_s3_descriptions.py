"""What the library reads of S3 in its own files is read once for a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session

from shared.objects.cloud import descriptions


def loader() -> Any:
    session = get_session()
    descriptions.share(session)
    return session.get_component("data_loader")


def test_all_sessions_have_what_one_has_read() -> None:
    assert loader() is loader()
    assert loader().load_service_model("s3", "service-2") is loader().load_service_model("s3", "service-2")


def test_descriptions_of_the_users_own_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert str(tmp_path) in loader().search_paths
