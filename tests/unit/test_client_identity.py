"""How a client shows who it is, for which project it asks, and to whom it shows that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from tests.unit.client_fake import FakeServer, running
from voxloom.client import AsyncClient, Client
from voxloom.errors import InvalidInput, VoxloomError
from voxloom.ids import new_id
from voxloom.models import TokenMade, TokenRecord

SHOWN = ("Authorization", "Voxloom-Project")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VOXLOOM_URL", "VOXLOOM_TOKEN", "VOXLOOM_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as one:
        yield one


@pytest.fixture
def stranger() -> Iterator[FakeServer]:
    with running() as one:
        yield one


def shown(server: FakeServer) -> list[str | None]:
    """By the last request."""
    return [server.headers[-1].get(name) for name in SHOWN]


def test_token_and_project_go_with_every_request(server: FakeServer) -> None:
    with Client(server.url, "secret", "lab1") as client:
        client.algorithms()
    assert shown(server) == ["Bearer secret", "lab1"]


async def test_the_asynchronous_client_shows_the_same(server: FakeServer) -> None:
    async with AsyncClient(server.url, "secret", project="lab1") as client:
        await client.algorithms()
    assert shown(server) == ["Bearer secret", "lab1"]


def test_what_is_not_given_comes_from_the_environment(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOM_TOKEN", "secret\n")  # as read from a file
    monkeypatch.setenv("VOXLOOM_PROJECT", "lab1")
    with Client(server.url) as client:
        client.algorithms()
    assert shown(server) == ["Bearer secret", "lab1"]


def test_who_has_neither_sends_neither(server: FakeServer) -> None:
    with Client(server.url) as client:
        client.algorithms()
    assert shown(server) == [None, None]


@pytest.mark.parametrize(
    ("given", "sent"),
    [(None, "Basic bGFiMTpodXNoOg=="), ("whisper", "Bearer whisper")],
)
def test_user_and_password_of_the_address_go_before_the_environment_and_after_what_is_given(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, given: str | None, sent: str
) -> None:
    monkeypatch.setenv("VOXLOOM_TOKEN", "of-the-environment")
    with Client(server.url.replace("//", "//lab1:hush%3A@"), given) as client:
        client.algorithms()
    assert shown(server)[0] == sent


@pytest.mark.parametrize("token", ["two words", "a\r\nX-Evil: 1", "schlüssel"])
def test_what_can_be_no_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InvalidInput, match="copy it whole") as error:
        Client(token=token)
    assert token not in str(error.value)


def test_what_can_be_no_project_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is no id of a project"):
        Client(project="lab1\nX-Evil: 1")


# --- nobody else learns of it ---------------------------------------------------------------------------------------

Ask = Callable[[Client, Path], object]
ASKS: dict[str, Ask] = {
    "a look": lambda client, folder: client.algorithms(),
    "a download": lambda client, folder: client.download(new_id(), folder / "out.h5"),
    "an upload": lambda client, folder: client.upload(np.ones((2, 2))),
    "an export": lambda client, folder: client.export("smooth", 1, folder / "out.zip"),
    "a log": lambda client, folder: client.execution(new_id()).log(),
    "a watch": lambda client, folder: list(client.execution(new_id()).watch()),
    "a write": lambda client, folder: client.put_project("lab1"),
}


@pytest.mark.parametrize("what", ASKS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_who_is_sent_on_to_another_host_shows_it_nothing(
    server: FakeServer, stranger: FakeServer, tmp_path: Path, what: str, status: int
) -> None:
    server.refusals = [web.Response(status=status, headers={"Location": f"{stranger.url}/api/v1/x"})]
    with Client(server.url, "secret", "lab1") as client, pytest.raises(VoxloomError, match=str(status)):
        ASKS[what](client, tmp_path)
    assert stranger.requests == []


def test_the_next_page_is_asked_of_the_same_server_wherever_it_is_said_to_be(
    server: FakeServer, stranger: FakeServer
) -> None:
    link = f'<{stranger.url}/api/v1/executions?cursor=0>; rel="next"'
    server.refusals = [web.json_response([], headers={"Link": link})]
    with Client(server.url, "secret") as client:
        list(client.executions())
    assert (stranger.requests, len(server.requests)) == ([], 2)


@pytest.mark.parametrize("address", ["http://{}", "http://lab1:vox_hush@{}"])
def test_no_secret_is_in_logs_and_in_what_a_client_shows(
    server: FakeServer, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with Client(address.format(server.url.removeprefix("http://")), "" if "@" in address else "vox_hush") as client:
        client.algorithms()
        said = [caplog.text, repr(client), repr(vars(client)), client.url, repr(client._transport.address)]
    assert "hush" not in "".join(said)
    assert "HTTP Request" in caplog.text


def test_a_new_token_is_not_shown_by_accident() -> None:
    facts = dict.fromkeys(TokenRecord.model_fields, "x") | {"projects": None, "rights": None, "status": "good"}
    made = TokenMade(**facts, token="vox_hush")
    assert "hush" not in f"{made!r} {made}"


def test_an_answer_that_makes_no_sense_does_not_show_the_token_that_is_in_it(server: FakeServer) -> None:
    server.refusals = [web.json_response({"token": "vox_hush", "status": "vox_hush"})]
    with Client(server.url) as client, pytest.raises(VoxloomError, match="no TokenMade") as error:
        client.create_token()
    assert "hush" not in f"{error.value} {error.value.__cause__}"
