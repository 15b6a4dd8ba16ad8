"""Commands on a server that asks nobody who they are."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from typer.testing import CliRunner

from tests.contract.gateway_world import World, client_of
from tests.contract.gateway_world import world as world
from tests.contract.test_gateway_files import upload
from voxloom.cli import file_removal
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


async def test_what_somebody_keeps_while_rm_asks_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of(world) as client:
        kept, other = await upload(client), await upload(client)
        url = f"{world.gateway.url}/api/v1/files/{kept}/keep"
        monkeypatch.setattr(file_removal, "ask", lambda _: httpx.put(url).raise_for_status())
        environment = {"VOXLOOM_URL": world.gateway.url, "NO_COLOR": "1"}
        words = ("rm", "files", "--older-than", "0")
        done = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
        left = [(await client.get(f"/api/v0/files/{one}")).status_code for one in (kept, other)]
    assert (done.exit_code, left, "left alone: 1 file" in done.stdout) == (0, [200, 404], True), done.output
