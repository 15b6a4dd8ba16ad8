"""`voxloom login`, `logout`, `passwd`: what is asked, what is kept, where, and for whom."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner, Result

from tests.contract.closed_world import Closed, closed_at
from voxloom.cli import keyring
from voxloom.cli.answers import ANSWERS
from voxloom.cli.keyring import Login
from voxloom.cli.program import app
from voxloom.client import AsyncClient
from voxloom.errors import InvalidInput

Cli = Callable[..., Awaitable[Result]]
RIGHT, OTHER = "correct horse battery", "staple staple staple"


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with closed_at(tmp_path / "server", password_login=True) as closed:
        yield closed


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("VOXLOOM_TOKEN", "VOXLOOM_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "voxloom" / "logins.json"


@pytest.fixture
def cli(closed: Closed) -> Cli:
    async def call(*words: str, typed: str = "", who: str | None = None, **environment: str) -> Result:
        token = {} if who is None else {"VOXLOOM_TOKEN": closed.people.tokens[who]}
        whole = {"VOXLOOM_URL": closed.world.gateway.url, "NO_COLOR": "1", **token, **environment}
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=whole, input=typed)

    return call


async def test_from_a_first_password_to_the_end(cli: Cli, settings: Path) -> None:
    # Given a password that an admin has made up
    made = await cli("passwd", "mia", "--one-time", "--json", who="root")
    TypeAdapter(ANSWERS["passwd"]).validate_json(made.stdout)
    first = json.loads(made.stdout)["password"]
    # When Mia logs in with it and another one
    refused = await cli("login", "mia", "--password-stdin", typed=f"{first}\n")
    done = await cli("login", "mia", "--password-stdin", "--json", typed=f"{first}\n{RIGHT}\n")
    TypeAdapter(ANSWERS["login"]).validate_json(done.stdout)
    # Then the commands after that are hers, by a file that is for her alone
    who = await cli("whoami", "--json")
    assert (refused.exit_code, json.loads(who.stdout)["principal_id"]) == (1, "mia")
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    # And also after she has changed it
    changed = await cli("passwd", "--password-stdin", typed=f"{RIGHT}\n{OTHER}\n")
    assert (changed.exit_code, (await cli("whoami")).exit_code) == (0, 0), changed.output
    # Until she logs out
    token = json.loads(settings.read_text()).popitem()[1]["token"]
    left = await cli("logout", "--json")
    TypeAdapter(ANSWERS["logout"]).validate_json(left.stdout)
    after = await cli("whoami"), await cli("whoami", VOXLOOM_TOKEN=token), await cli("logout")
    assert [one.exit_code for one in after] == [1, 1, 1]
    assert ("send a token" in after[0].stderr, "revoked" in after[1].stderr) == (True, True)


async def test_what_is_kept_for_one_server_goes_to_no_other(cli: Cli, closed: Closed) -> None:
    keyring.keep("http://127.0.0.1:1", Login(token=closed.people.tokens["mia"]))
    keyring.keep(closed.world.gateway.url + "/other", Login(token=closed.people.tokens["mia"]))
    assert (await cli("whoami")).exit_code == 1
    keyring.keep(closed.world.gateway.url, Login(token=closed.people.tokens["mia"]))
    said = [json.loads((await cli("whoami", "--json", who=who)).stdout)["principal_id"] for who in (None, "max")]
    assert said == ["mia", "max"]


async def test_a_file_that_others_can_read_is_not_used(cli: Cli, closed: Closed, settings: Path) -> None:
    keyring.keep(closed.world.gateway.url, Login(token=closed.people.tokens["mia"]))
    settings.chmod(0o644)
    done = await cli("whoami")
    assert (done.exit_code, "chmod 600" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        *(
            f'{{"http://127.0.0.1:5481": {one}}}'
            for one in ("1", "{}", '{"token": 1}', '{"token": "x", "expires_at": "x"}')
        ),
    ],
)
def test_a_damaged_file_is_told_of(settings: Path, text: str) -> None:
    settings.parent.mkdir(parents=True)
    settings.touch(0o600)
    settings.write_text(text)
    with pytest.raises(InvalidInput, match="log in again"):
        keyring.find("http://127.0.0.1:5481")


async def test_a_login_that_is_over_says_what_to_type(cli: Cli, closed: Closed) -> None:
    over = Login("vox_x", expires_at="2020-01-01T00:00:00+00:00")
    keyring.keep(closed.world.gateway.url, over)
    done = await cli("whoami")
    assert (done.exit_code, "voxloom login" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (("login", "mia"), "", "--password-stdin"),
        (("login",), "", "voxloom login NAME"),
        (("login", "mia", "--password-stdin"), "", "no password"),
        (("login", "mia", "--password-stdin"), f"{OTHER}\n", "do not fit"),
        (("--url", "http://192.0.2.1", "login", "mia", "--password-stdin"), f"{OTHER}\n", "without TLS"),
        (("passwd", "--password-stdin"), f"{OTHER}\n", "send a token"),
    ],
)
async def test_what_cannot_be_is_told_in_a_line(cli: Cli, words: tuple[str, ...], typed: str, told: str) -> None:
    done = await cli(*words, typed=typed)
    assert (done.exit_code, told in done.stderr, OTHER in done.output) == (1, True, False), done.output


async def test_a_client_shows_what_it_has_got(closed: Closed) -> None:
    async with AsyncClient(closed.world.gateway.url, closed.people.tokens["root"]) as root:
        await root.set_password("mia", RIGHT)
        async with AsyncClient(closed.world.gateway.url) as client:
            await client.login("mia", RIGHT)
            who = await client.whoami()
            await client.logout()
        await root.remove_password("mia")
    assert (who.principal_id, await closed.status("mia")) == ("mia", 200)
