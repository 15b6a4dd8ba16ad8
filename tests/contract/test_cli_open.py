"""Commands that need to know who people are, on a server that does not ask."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from tests.contract.gateway_world import World
from tests.contract.gateway_world import world as world
from voxloom.cli.program import app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ls", "--by", "me"), "asks who people are"),
        (("ls", "trainings", "--by", "anna"), "asks who people are"),
        (("audit", "--by", "me"), "asks who people are"),
        (("ls", "files", "--by", "me"), "are for runs"),
    ],
)
async def test_nobody_can_be_asked_for_where_nobody_is_asked(world: World, words: tuple[str, ...], said: str) -> None:
    environment = {"VOXLOOM_URL": world.gateway.url, "NO_COLOR": "1"}
    done = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
    assert (done.exit_code, done.stdout, said in done.stderr) == (1, "", True), done.output
