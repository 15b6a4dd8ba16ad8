"""What a server's settings leave open to others, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.weaknesses import ThisMachine, weaknesses
from shared.settings import Settings
from voxloom.cli import doctor
from voxloom.cli.doctor import Finding, line_of
from voxloom.cli.program import app


class Machine:
    """Files with these permission bits; all others are the owner's alone."""

    def __init__(self, modes: Mapping[str, int] = {}, *, is_root: bool = False) -> None:
        self._modes = modes
        self.is_root = is_root

    def mode(self, path: Path) -> int | None:
        return self._modes.get(str(path), 0o700)


def named(settings: Mapping[str, Any], machine: Machine) -> list[str]:
    return [one.what for one in weaknesses(Settings(**{"data": "/d", **settings}), machine)]


OPEN = {"host": "192.0.2.7", "tls_certificate": "/c", "allowed_hosts": ["lab"], "max_wall_time": 60, "runner_memory": 1}
OIDC = {"oidc_issuer": "https://login.example", "oidc_audience": "voxloom"}
PASSWORDS = {"auth": "closed", "password_login": True}
LAB, OWN = "amqps://u:p@lab.example/v", "amqp://u:p@127.0.0.1/v"
TABLE: dict[str, tuple[dict[str, Any], Machine, list[str]]] = {
    "the defaults": ({}, Machine(), []),
    "to others, as well as it can be": (OPEN, Machine(), ["open_to"]),
    "to all": ({**OPEN, "host": "::"}, Machine(), ["open_to"]),
    "to others, in the open": ({**OPEN, "tls_certificate": None}, Machine(), ["open_to", "tls_certificate"]),
    "under any name": ({**OPEN, "allowed_hosts": []}, Machine(), ["open_to", "allowed_hosts"]),
    "runs for ever": ({**OPEN, "max_wall_time": None}, Machine(), ["open_to", "max_wall_time"]),
    "runs without a limit": ({**OPEN, "runner_memory": None}, Machine(), ["open_to", "runner_memory"]),
    "closed, with TLS": ({**OPEN, "auth": "closed"}, Machine(), []),
    "closed, behind a proxy": (
        {**OPEN, "auth": "closed", "tls_certificate": None, "tls_elsewhere": True},
        Machine(),
        ["tls_elsewhere"],
    ),
    "passwords, with TLS": ({**OPEN, "auth": "closed", "password_login": True}, Machine(), []),
    "passwords behind a proxy": (
        {**OPEN, "auth": "closed", "tls_certificate": None, "tls_elsewhere": True, "password_login": True},
        Machine(),
        ["tls_elsewhere", "password_login", "trusted_proxies"],
    ),
    "passwords behind a proxy here": ({**PASSWORDS, "allowed_hosts": ["lab"]}, Machine(), ["trusted_proxies"]),
    "a proxy here that is named": (
        {**PASSWORDS, "allowed_hosts": ["lab"], "trusted_proxies": ["127.0.0.1", "::1"]},
        Machine(),
        [],
    ),
    "proxies that are everybody": ({**PASSWORDS, "trusted_proxies": ["::/0"]}, Machine(), ["trusted_proxies"]),
    "proxies that are half of everybody": (
        {**PASSWORDS, "trusted_proxies": ["0.0.0.0/1", "128.0.0.0/1"]},
        Machine(),
        ["trusted_proxies", "trusted_proxies"],
    ),
    "proxies that are a provider's": ({**PASSWORDS, "trusted_proxies": ["5.4.0.0/16"]}, Machine(), ["trusted_proxies"]),
    "proxies of one's own network, where people are": (
        {**PASSWORDS, "trusted_proxies": ["10.0.0.0/8"]},
        Machine(),
        ["trusted_proxies"],
    ),
    "proxies of a small network": (
        {**PASSWORDS, "trusted_proxies": ["127.0.0.0/8", "10.1.2.0/24", "5.4.3.2", "2001:db8::/120"]},
        Machine(),
        [],
    ),
    "proxies that nobody asks": ({"auth": "closed", "trusted_proxies": ["::/0"]}, Machine(), []),
    "logged in for a day": ({**PASSWORDS, "login_hours": 24}, Machine(), []),
    "logged in for a month": ({**PASSWORDS, "login_hours": 720}, Machine(), ["login_hours"]),
    "no passwords for a month": ({"auth": "closed", "login_hours": 720}, Machine(), []),
    "passwords that nobody is asked for": ({"password_login": True}, Machine(), ["auth"]),
    "a provider that nobody is asked for": ({**OIDC, "oidc_token_hours": 720}, Machine(), ["auth"]),
    "tokens of a provider for a month": (
        {"auth": "closed", **OIDC, "oidc_token_hours": 720},
        Machine(),
        ["oidc_token_hours"],
    ),
    "an audit of a week": ({"auth": "closed", "audit_expire_days": 7}, Machine(), ["audit_expire_days"]),
    "an audit for ever": ({"auth": "closed", "audit_expire_days": None}, Machine(), []),
    "the first token, for all to read": ({}, Machine({"/d/admin.token": 0o644}), ["admin.token"]),
    "a provider": ({"auth": "closed", **OIDC}, Machine(), []),
    "a provider without TLS": (
        {"auth": "closed", **OIDC, "oidc_issuer": "http://127.0.0.1:1"},
        Machine(),
        ["oidc_issuer"],
    ),
    "a provider of everybody": (
        {"auth": "closed", **OIDC, "oidc_new_principals": True},
        Machine(),
        ["oidc_new_principals"],
    ),
    "passwords here": ({"auth": "closed", "password_login": True}, Machine(), []),
    "here, without all that": ({"host": "localhost"}, Machine(), []),
    "any page": ({"cors_origins": ["https://a", "*"]}, Machine(), ["cors_origins"]),
    "pages by name": ({"cors_origins": ["https://a"]}, Machine(), []),
    "figures for all": ({"ops_host": "0.0.0.0", "ops_port": 9}, Machine(), ["ops_host"]),
    "figures for nobody": ({"ops_host": "0.0.0.0"}, Machine(), []),
    "root": ({}, Machine(is_root=True), ["user"]),
    "every folder": ({"deploy_roots": ["/"]}, Machine(), ["deploy_roots"]),
    "a folder of all": ({"deploy_roots": ["/x", "/y"]}, Machine({"/x": 0o777}), ["deploy_roots"]),
    "a folder of a group": ({"deploy_roots": ["/x"]}, Machine({"/x": 0o775}), []),
    "a broker of others": ({"broker": LAB}, Machine(), []),
    "a broker without TLS": ({"broker": LAB.replace("amqps", "amqp")}, Machine(), ["broker"]),
    "the broker's own user": ({"broker": "amqps://guest:guest@lab.example"}, Machine(), ["broker"]),
    "no user": ({"broker": "amqps://lab.example"}, Machine(), ["broker"]),
    "a broker here": ({"broker": OWN}, Machine(), []),
    "a store without TLS": ({"store": "s3://v-?endpoint=http://lab.example"}, Machine(), ["store"]),
    "a store": ({"store": "s3://v-?endpoint=https://lab.example"}, Machine(), []),
    "a store of the cloud": ({"store": "s3://v-"}, Machine(), []),
    "a store here": ({"store": "s3://v-?endpoint=http://[::1]:9"}, Machine(), []),
    "a key": ({"tls_certificate": "/c", "tls_key": "/k"}, Machine({"/k": 0o640}), ["tls_key"]),
    "keys of bundles": (
        {"bundle_key_file": "/k", "bundle_passphrase_file": "/p"},
        Machine({"/k": 0o604, "/p": 0o644}),
        ["bundle_key_file", "bundle_passphrase_file"],
    ),
    "the data": ({}, Machine({"/d": 0o755}), ["data"]),
    "settings with a password": ({"broker": OWN}, Machine({"voxloom.toml": 0o644}), ["voxloom.toml"]),
    "settings without one": ({}, Machine({"voxloom.toml": 0o644}), []),
}


@pytest.mark.parametrize(("settings", "machine", "expected"), TABLE.values(), ids=TABLE)
def test_what_is_open_is_named(settings: dict[str, Any], machine: Machine, expected: list[str]) -> None:
    assert named(settings, machine) == expected


def test_no_sentence_has_a_secret_in_it() -> None:
    settings = Settings(data=Path("/d"), broker="amqp://me:hunter2@lab.example/v")
    assert "hunter2" not in str(weaknesses(settings, Machine()))


def test_a_file_that_is_not_there_is_nobodys_to_read(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    machine = ThisMachine()
    assert (machine.mode(tmp_path / "none"), machine.mode(tmp_path / "key")) == (None, 0o600)


def test_a_weakness_is_told_and_is_no_problem() -> None:
    weak = Finding("host", "open", "Close it.", weak=True)
    assert (weak.is_problem, line_of(weak)) == (False, "weakness host: open. Close it.")


def test_the_doctor_names_them_also_in_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "check_runner", lambda _: Finding("runner process", "starts"))
    monkeypatch.setenv("VOXLOOM_DATA", str(tmp_path))
    monkeypatch.setenv("VOXLOOM_CORS_ORIGINS", '["*"]')
    said = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9", "doctor", "--json"])
    assert '"what": "cors_origins"' in said.stdout
    assert '"weak": true' in said.stdout
