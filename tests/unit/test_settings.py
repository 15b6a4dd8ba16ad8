"""Settings that cannot be are refused with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.settings import load_settings, unknown_variables
from voxloom.errors import Misconfigured


def test_a_lease_that_one_late_heartbeat_would_end_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"`lease` \(1 s\) has to be at least twice `heartbeat` \(1 s\)"):
        load_settings(heartbeat=1.0, lease=1.0)


def test_a_heartbeat_that_is_slower_than_the_lease_allows_is_refused() -> None:
    with pytest.raises(Misconfigured, match="lease"):
        load_settings(heartbeat=10.0)


def test_a_value_of_the_wrong_kind_is_named_with_its_setting() -> None:
    with pytest.raises(Misconfigured, match=r"The setting `heartbeat` is wrong.*VOXLOOM_HEARTBEAT"):
        load_settings(heartbeat="often")


def test_a_key_of_the_file_that_is_no_setting_is_refused_with_the_one_that_is_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voxloom.toml").write_text("slot = 2\nzzz = 1\n")
    with pytest.raises(Misconfigured, match=r"no setting: `slot` \(did you mean 'slots'\?\), `zzz`\. Correct it"):
        load_settings()


def test_a_file_of_settings_alone_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voxloom.toml").write_text("slots = 2\n")
    assert load_settings().slots == 2


def test_a_variable_that_is_no_setting_is_named_with_the_one_that_is_like_it() -> None:
    known = {"VOXLOOM_SLOTS": "2", "voxloom_port": "0", "VOXLOOM_URL": "http://localhost", "HOME": "/"}
    assert unknown_variables(known) == []
    assert unknown_variables({"VOXLOOM_SLOT": "2"}) == [
        "The variable VOXLOOM_SLOT is no setting (did you mean 'VOXLOOM_SLOTS'?); it is ignored."
    ]


def test_a_list_that_is_no_json_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOM_OPEN_TO", '["10.0.0.0/8"')
    with pytest.raises(Misconfigured, match=r"VOXLOOM_OPEN_TO is no JSON"):
        load_settings()


@pytest.mark.parametrize("networks", ['["10.0.0/8"]', '["lab"]', '["10.0.0.0/33"]', '["10.0.0.0/8", ""]'])
def test_what_is_no_network_is_named(monkeypatch: pytest.MonkeyPatch, networks: str) -> None:
    monkeypatch.setenv("VOXLOOM_OPEN_TO", networks)
    with pytest.raises(Misconfigured, match=r"`open_to` is wrong: '.*' is no network"):
        load_settings()


PROVIDER = {"oidc_issuer": "https://login.example", "oidc_audience": "voxloom"}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"oidc_audience": ""}, "without `oidc_audience`"),
        ({"oidc_issuer": "http://login.example"}, "begin with https"),
        ({"oidc_issuer": "https://user:x@login.example"}, "begin with https"),
        ({"oidc_client_id": "voxloom"}, "must differ"),
        ({"oidc_algorithms": ["HS256"]}, "no signature that is safe"),
        ({"oidc_algorithms": ["none"]}, "no signature that is safe"),
        ({"oidc_groups": {"staff": {"lab1": "admin"}}}, "oidc_groups"),
        ({"login_hours": 0}, "login_hours"),
        ({"trusted_proxies": ["lab"]}, "is no network"),
    ],
)
def test_a_login_that_is_not_safe_is_refused(other: dict[str, Any], told: str) -> None:
    assert load_settings(**PROVIDER).oidc_issuer
    with pytest.raises(Misconfigured, match=told):
        load_settings(**{**PROVIDER, **other})
