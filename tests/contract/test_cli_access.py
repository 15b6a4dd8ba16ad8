"""`voxloom whoami`, `token` and `admin` on a server that asks who people are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner, Result

from tests.contract.closed_world import Closed
from tests.contract.closed_world import closed as closed
from voxloom.cli.answers import ANSWERS
from voxloom.cli.program import app

Cli = Callable[..., Awaitable[Result]]
"""Types a command with the token of somebody."""


@pytest.fixture
def cli(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name in ("VOXLOOM_TOKEN", "VOXLOOM_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    async def call(who: str | None, *words: str, **environment: str) -> Result:
        token = {} if who is None else {"VOXLOOM_TOKEN": closed.people.tokens.get(who, who)}
        whole = {"VOXLOOM_URL": closed.world.gateway.url, "NO_COLOR": "1", **token, **environment}
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=whole)

    return call


async def told(cli: Cli, who: str, command: str, *more: str) -> Any:
    """Its document, which is as it is promised."""
    done = await cli(who, *command.split(), *more, "--json")
    assert done.exit_code == 0, done.output
    TypeAdapter(ANSWERS[command]).validate_json(done.stdout)
    return json.loads(done.stdout)


async def test_who_has_no_token_is_told_what_to_do(cli: Cli) -> None:
    done = await cli(None, "ls")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "VOXLOOM_TOKEN" in done.stderr


async def test_an_odd_token_is_not_repeated(cli: Cli) -> None:
    done = await cli("hush hush", "ls")
    assert (done.exit_code, "copy it whole" in done.stderr, "hush" in done.output) == (1, True, False)


async def test_whoami_tells_what_one_may_where(cli: Cli) -> None:
    lines = (await cli("mia", "whoami")).stdout.splitlines()
    assert lines[0].split() == ["principal", "mia"]
    assert lines[-1].split() == ["lab1", "member", "read,", "run"]


@pytest.mark.parametrize(
    ("before", "environment", "project"),
    [
        ((), {}, None),
        (("--project", "lab2"), {}, "lab2"),
        ((), {"VOXLOOM_PROJECT": "lab1"}, "lab1"),
        (("--project", "lab2"), {"VOXLOOM_PROJECT": "lab1"}, "lab2"),
    ],
)
async def test_the_project_is_named_before_the_command_or_by_the_environment(
    cli: Cli, before: tuple[str, ...], environment: dict[str, str], project: str | None
) -> None:
    done = await cli("root", *before, "whoami", "--json", **environment)
    assert json.loads(done.stdout)["project_id"] == project


async def test_one_in_several_projects_is_asked_which(cli: Cli) -> None:
    done = await cli("root", "ls")
    assert (done.exit_code, "VOXLOOM_PROJECT" in done.stderr) == (1, True)


# --- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_new_token_stands_alone_on_stdout(cli: Cli) -> None:
    done = await cli("mia", "token", "create", "--name", "scanner", "--days", "2")
    (token,) = done.stdout.splitlines()
    assert token.startswith("vox_")
    assert (token in done.stderr, "shown this once" in done.stderr) == (False, True)
    assert (await cli(token, "whoami")).exit_code == 0


async def test_a_token_may_be_for_few_things(cli: Cli) -> None:
    words = ("--project-only", "lab1", "--right", "read", "--right", "run", "--for", "max")
    made = await told(cli, "root", "token create", *words)
    assert (made["principal_id"], made["projects"], made["rights"]) == ("max", ["lab1"], ["read", "run"])


async def test_there_are_no_other_rights(cli: Cli) -> None:
    assert (await cli("root", "token", "create", "--right", "everything")).exit_code == 2


async def test_tokens_are_listed_and_revoked(cli: Cli, closed: Closed) -> None:
    token_id = closed.people.id_of("mia")
    assert (await told(cli, "root", "token revoke", token_id))["what"] == token_id
    rows = [line.split() for line in (await cli("root", "token", "list", "--of", "mia")).stdout.splitlines()[1:]]
    assert {row[0]: row[2] for row in rows}[token_id] == "revoked"


# --- people ---------------------------------------------------------------------------------------------------------


async def test_what_is_not_said_of_somebody_stays_as_it_is(cli: Cli) -> None:
    await told(cli, "root", "admin user add", "nina", "--name", "Nina", "--admin")
    assert (await told(cli, "root", "admin user add", "nina", "--name", "N"))["admin"]
    assert (await told(cli, "root", "admin user add", "nina", "--no-admin"))["name"] == "N"


async def test_who_is_disabled_keeps_their_name_and_comes_back_as_they_were(cli: Cli) -> None:
    await told(cli, "root", "admin user add", "mia", "--name", "Mia")
    off = await told(cli, "root", "admin user disable", "mia")
    refused = await cli("mia", "whoami")
    on = await told(cli, "root", "admin user enable", "mia")
    assert (off["name"], off["disabled"], on["name"], on["disabled"]) == ("Mia", True, "Mia", False)
    assert (refused.exit_code, (await cli("mia", "whoami")).exit_code) == (1, 0)


async def test_adding_somebody_again_does_not_let_them_in_again(cli: Cli) -> None:
    await told(cli, "root", "admin user disable", "mia")
    assert (await told(cli, "root", "admin user add", "mia", "--name", "Mia"))["disabled"]


@pytest.mark.parametrize("what", ["disable", "enable"])
async def test_nobody_is_made_by_a_slip(cli: Cli, what: str) -> None:
    done = await cli("root", "admin", "user", what, "mai")
    assert (done.exit_code, "mai" in done.stderr) == (1, True)
    assert "mai" not in [one["principal_id"] for one in await told(cli, "root", "admin user list")]


async def test_nobody_is_removed_for_good_without_being_asked(cli: Cli) -> None:
    asked = await cli("root", "admin", "user", "remove", "mia")
    assert (asked.exit_code, "--yes" in asked.stderr) == (1, True)
    await told(cli, "root", "admin user remove", "mia", "--yes")
    assert (await cli("mia", "whoami")).exit_code == 1


async def test_a_project_and_its_members(cli: Cli) -> None:
    # Given a project of which somebody is a member
    await told(cli, "root", "admin project add", "lab3", "--name", "The third")
    await told(cli, "root", "admin member set", "lab3", "mia", "manager")
    # Then both are told
    assert [one["project_id"] for one in await told(cli, "mia", "admin project list")] == ["lab1", "lab3"]
    assert [one["role"] for one in await told(cli, "mia", "admin member list", "lab3")] == ["manager"]
    # And neither any more when it is over
    await told(cli, "root", "admin member remove", "lab3", "mia")
    assert await told(cli, "root", "admin member list", "lab3") == []


async def test_a_project_that_is_added_again_keeps_its_name(cli: Cli) -> None:
    await told(cli, "root", "admin project add", "lab3", "--name", "The third")
    assert (await told(cli, "root", "admin project add", "lab3"))["name"] == "The third"


@pytest.mark.parametrize(
    "words",
    [
        ("whoami",),
        ("token", "list"),
        ("token", "revoke", "{mia}"),
        ("admin", "user", "list"),
        ("admin", "user", "add", "nina"),
        ("admin", "user", "disable", "mia"),
        ("admin", "user", "enable", "mia"),
        ("admin", "user", "remove", "mia", "--yes"),
        ("admin", "project", "list"),
        ("admin", "project", "add", "lab3"),
        ("admin", "member", "list", "lab1"),
        ("admin", "member", "set", "lab1", "mia", "viewer"),
        ("admin", "member", "remove", "lab1", "mia"),
    ],
)
async def test_each_says_something_to_people(cli: Cli, closed: Closed, words: tuple[str, ...]) -> None:
    done = await cli("root", *(word.replace("{mia}", closed.people.id_of("mia")) for word in words))
    assert (done.exit_code, bool(done.stdout.strip())) == (0, True), done.output
