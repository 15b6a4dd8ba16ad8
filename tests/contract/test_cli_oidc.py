"""`voxloom login` by an OpenID provider: the device flow, and what happens when a token is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from tests.contract.closed_world import Closed, closed_at
from tests.contract.issuer import AUDIENCE, CLIENT, Issuer, issuing
from voxloom.cli import device
from voxloom.cli.program import app
from voxloom.errors import InvalidInput

Cli = Callable[..., Awaitable[Result]]


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def closed(issuer: Issuer, tmp_path: Path) -> AsyncIterator[Closed]:
    oidc = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, "oidc_client_id": CLIENT}
    async with closed_at(tmp_path / "server", **oidc) as closed:
        async with closed.asking("root") as root:
            await root.put("/api/v1/principals/mia/identity", json={"subject": issuer.subject})
        yield closed


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("VOXLOOM_TOKEN", "VOXLOOM_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "voxloom" / "logins.json"


@pytest.fixture
def cli(closed: Closed, settings: Path) -> Cli:
    async def call(*words: str) -> Result:
        whole = {"VOXLOOM_URL": closed.world.gateway.url, "NO_COLOR": "1"}
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=whole)

    return call


def kept(settings: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(settings.read_text()).popitem()[1]
    return found


async def test_a_code_in_the_browser_lets_the_commands_in(cli: Cli, issuer: Issuer, settings: Path) -> None:
    # When somebody logs in, and says yes in the browser
    done = await cli("login", "--json")
    # Then they are who the server says
    assert done.exit_code == 0, done.output
    assert ("WDJB-MJHT" in done.stderr, json.loads(done.stdout)["principal_id"]) == (True, "mia")
    assert json.loads((await cli("whoami", "--json")).stdout)["principal_id"] == "mia"
    # And no secret was shown
    assert kept(settings)["token"] not in done.output
    # Until they log out
    assert (await cli("logout")).exit_code == 0
    assert (await cli("whoami")).exit_code == 1


async def test_a_token_that_is_over_is_exchanged_for_another(cli: Cli, issuer: Issuer, settings: Path) -> None:
    issuer.approved, issuer.lifetime = True, 20
    assert (await cli("login")).exit_code == 0
    before = kept(settings)
    issuer.lifetime = 300
    # When commands are typed near its end
    said = await cli("whoami"), await cli("whoami")
    # Then one exchange is enough for all
    assert ([one.exit_code for one in said], issuer.refreshed) == ([0, 0], 1)
    assert kept(settings)["refresh_token"] != before["refresh_token"]


async def test_a_login_that_the_provider_has_ended_says_what_to_type(cli: Cli, issuer: Issuer) -> None:
    issuer.approved, issuer.lifetime = True, 20
    await cli("login")
    issuer.answers["/token"] = lambda: web.json_response({"error": "invalid_grant"}, status=400)
    done = await cli("whoami")
    assert (done.exit_code, "voxloom login" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        ("/token", b'{"error": "access_denied"}', "access_denied"),
        ("/token", b"[]", "cannot be used"),
        ("/device", b'{"error": "unauthorized_client"}', "unauthorized_client"),
        ("/device", b'{"device_code": "x", "user_code": "\\u001b[2J", "verification_uri": "x"}', "cannot be used"),
        ("/.well-known/openid-configuration", b'{"issuer": "https://elsewhere"}', "cannot be used"),
        ("/.well-known/openid-configuration", b"{", "cannot be used"),
    ],
)
async def test_what_the_provider_refuses_is_told(
    cli: Cli, issuer: Issuer, settings: Path, path: str, answer: bytes, told: str
) -> None:
    issuer.answers[path] = answer
    done = await cli("login")
    assert (done.exit_code, told in done.stderr, settings.exists()) == (1, True, False), done.output


@pytest.mark.parametrize("issuer_url", ["http://192.0.2.1", "file:///etc/passwd", "https://u:p@login.example"])
def test_no_provider_is_asked_without_tls(issuer_url: str) -> None:
    with pytest.raises(InvalidInput):
        device.discover(issuer_url)
