"""Dead letters over real HTTP, and on the command line."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from messages import wire
from messages.files import FileUploaded
from messages.wire import PREFIX, Message
from services.gateway.views.dead_letters import record_of
from shared.bus.base import DeadLetter
from tests.contract.gateway_world import World, eventually
from tests.contract.gateway_world import client as client
from tests.contract.gateway_world import world as world
from tests.contract.operations_tools import Cli, Client, cli_of, count_is, letters, one_letter, outcome, park


@pytest.fixture
def cli(world: World) -> Cli:
    return cli_of(world)


class TestDeadLetters:
    async def test_where_there_are_none_none_are_told(self, client: Client, cli: Cli) -> None:
        assert (await client.get("/api/v1/dead-letters")).json() == {"items": [], "more": False}
        assert (await cli("dead", "list")).stdout == "There are no dead letters.\n"

    async def test_one_is_told_of_with_its_reason(self, client: Client, world: World) -> None:
        await one_letter(client, world)
        (found,) = await letters(client)
        assert (found["queue"], found["parked"], found["subject"]) == ("ingest", False, "x")
        assert (found["type"], found["routing_keys"]) == ("voxloom.file.uploaded.v1", ["file.uploaded.default.x"])
        assert "voxloom.file.uploaded.v1" in found["reason"]

    async def test_they_come_in_pages_the_oldest_first(self, client: Client, world: World) -> None:
        for subject in ("a", "b", "c"):
            await one_letter(client, world, subject)
        page = (await client.get("/api/v1/dead-letters", params={"limit": 2})).json()
        assert ([one["subject"] for one in page["items"]], page["more"]) == (["a", "b"], True)
        assert (await client.get("/api/v1/dead-letters", params={"limit": 3})).json()["more"] is False

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "", "1e2", "9" * 30])
    async def test_a_limit_that_cannot_be_is_refused(self, client: Client, limit: str) -> None:
        answer = await client.get("/api/v1/dead-letters", params={"limit": limit})
        assert outcome(answer) == (422, "request_validation_error")

    async def test_one_is_shown_with_its_headers_and_its_data(self, client: Client, world: World) -> None:
        letter = await one_letter(client, world)
        found = (await client.get(f"/api/v1/dead-letters/{letter}")).json()
        assert (found["data"], found["text"], found["body_bytes"]) == ({"size": "many"}, None, 16)
        assert found["headers"][f"{PREFIX}subject"] == "x"

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"no json", "no json"),
            (b"", ""),
            (b"\xff\x00", "�\x00"),
            (b"[" * 5000, "[" * 5000),
            (b"[" * 100 + b"]" * 100, "[" * 100 + "]" * 100),
            (b"a" * 20_000, "a" * 10_000),
            (b'"' + b"a" * (1 << 20) + b'"', '"' + "a" * 9_999),
        ],
        ids=["text", "nothing", "bytes", "brackets", "deep", "long", "large"],
    )
    async def test_a_body_that_is_no_bearable_json_is_shown_as_text(
        self, client: Client, world: World, body: bytes, text: str
    ) -> None:
        letter = await one_letter(client, world, body=body)
        found = (await client.get(f"/api/v1/dead-letters/{letter}")).json()
        assert (found["data"], found["text"], found["body_bytes"]) == (None, text, len(body))

    @pytest.mark.parametrize(
        "letter",
        [
            "nothing",
            "0",
            "-1",
            "99999999999999999999",
            "%2e%2e%2fetc",
            "%00",
            "'; DROP TABLE dead",
            "a" * 5000,
            "½",
            "１",
        ],
    )
    async def test_one_that_is_not_there_is_404_with_a_sentence(self, client: Client, letter: str) -> None:
        for answer in (
            await client.get(f"/api/v1/dead-letters/{letter}"),
            await client.post(f"/api/v1/dead-letters/{letter}/replay"),
        ):
            assert outcome(answer) == (404, "dead_letter_not_found")
            assert "`GET /api/v1/dead-letters` shows" in answer.json()["detail"]
            assert len(answer.content) < 1000

    async def test_one_that_was_mended_is_handled_when_it_is_replayed(
        self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given an event that this program is too old for
        with monkeypatch.context() as old:
            old.delitem(wire.EVENTS, FileUploaded.kinds()[0].type_name)
            letter = await one_letter(client, world, body=b'{"size": 1, "etag": "e"}')
        # When it is replayed after an upgrade
        answer = await client.post(f"/api/v1/dead-letters/{letter}/replay")
        assert (answer.status_code, answer.json()["detail"]) == (200, "The dead letter was given back to its queue")

        # Then it is handled, and no dead letter any more
        async def handled() -> bool:
            return [type(event) for event in world.heard] == [FileUploaded]

        await eventually(handled)
        assert await letters(client) == []

    async def test_one_that_was_not_mended_is_a_dead_letter_again(self, client: Client, world: World) -> None:
        letter = await one_letter(client, world)
        await client.post(f"/api/v1/dead-letters/{letter}/replay")

        async def again() -> bool:
            return [one["dead_letter_id"] == letter for one in await letters(client)] == [False]

        await eventually(again)

    async def test_the_command_lists_them(self, cli: Cli, client: Client, world: World) -> None:
        letter = await one_letter(client, world, "run-\x1b[31m7")
        heads, line = (await cli("dead", "list")).stdout.splitlines()
        assert heads.split() == ["ID", "QUEUE", "SINCE", "(UTC)", "EVENT", "REASON"]
        assert line.startswith(f"{letter} ")
        assert ("ingest" in line, "voxloom.file.uploaded.v1 run-7" in line, "\x1b" in line) == (True, True, False)

    async def test_the_command_says_when_there_are_more(self, cli: Cli, client: Client, world: World) -> None:
        for subject in ("a", "b"):
            await one_letter(client, world, subject)
        assert (await cli("dead", "list", "-n", "1")).stdout.splitlines()[-1] == (
            "There are more than 1; -n 1000 shows as many as there can be."
        )

    async def test_the_command_tells_of_parked_ones(self, cli: Cli, client: Client, world: World) -> None:
        await park(world)
        await eventually(lambda: count_is(client, 1))
        assert "parked: voxloom.file.uploaded.v9 is newer" in (await cli("dead", "list")).stdout

    async def test_the_command_shows_one(self, cli: Cli, client: Client, world: World) -> None:
        done = await cli("dead", "show", await one_letter(client, world))
        facts, _, body = done.stdout.partition("\n\n")
        assert json.loads(body) == {"size": "many"}
        lines = [line.split(maxsplit=1) for line in facts.splitlines()]
        assert [["queue", "ingest"] in lines, [f"{PREFIX}subject", "x"] in lines] == [True, True]

    async def test_the_command_shows_one_that_is_no_json(self, cli: Cli, client: Client, world: World) -> None:
        done = await cli("dead", "show", await one_letter(client, world, body=b"\x1b[31mred"))
        assert re.search(r"\nbody +8 bytes, not JSON\n\nred\n$", done.stdout)

    async def test_the_commands_say_the_same_as_json(self, cli: Cli, client: Client, world: World) -> None:
        letter = await one_letter(client, world)
        assert json.loads((await cli("dead", "list", "--json")).stdout)["items"] == await letters(client)
        shown = (await client.get(f"/api/v1/dead-letters/{letter}")).json()
        assert json.loads((await cli("dead", "show", letter, "--json")).stdout) == shown

    async def test_the_command_replays_those_that_are_named(self, cli: Cli, client: Client, world: World) -> None:
        named = [await one_letter(client, world, subject) for subject in ("a", "b")]
        kept = await one_letter(client, world, "c")
        done = await cli("dead", "replay", *named)
        assert done.stdout == "Replayed 2 dead letters.\n"
        await eventually(lambda: count_is(client, 3))
        assert (await letters(client))[0]["dead_letter_id"] == kept

    async def test_the_command_replays_all_once(self, cli: Cli, client: Client, world: World) -> None:
        before = [await one_letter(client, world, subject) for subject in ("a", "b", "c")]
        assert (await cli("dead", "replay", "--all")).stdout == "Replayed 3 dead letters.\n"
        await eventually(lambda: count_is(client, 3))
        assert not set(before) & {one["dead_letter_id"] for one in await letters(client)}

    async def test_replaying_all_tells_what_could_not_be_and_that_there_are_more(
        self, cli: Cli, client: Client, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given three letters, one of which somebody else has just replayed, and a server that tells of two at most
        monkeypatch.setattr("voxloom.cli.operations.AT_ONCE", 2)
        first, _, _ = [await one_letter(client, world, subject) for subject in ("a", "b", "c")]
        replay = type(world.bus).replay

        async def taken(bus: Any, *letters: str) -> Any:
            return await replay(bus, *(letter for letter in letters if letter != first))

        monkeypatch.setattr(type(world.bus), "replay", taken)
        done = await cli("dead", "replay", "--all")
        assert done.stdout == "Replayed 1 dead letter.\n"
        assert done.stderr.splitlines() == [
            "1 could not be: somebody else replayed them, or their queue is gone.",
            "There are more; do it again.",
        ]

    @pytest.mark.parametrize("arguments", [[], ["1", "--all"]])
    async def test_the_command_wants_ids_or_all(self, cli: Cli, arguments: list[str]) -> None:
        done = await cli("dead", "replay", *arguments)
        assert (done.exit_code, done.stderr) == (
            1,
            "Name the dead letters to replay by their ids, or all of them with --all.\n",
        )

    @pytest.mark.parametrize("command", ["show", "replay"])
    async def test_the_command_says_what_is_not_there(self, cli: Cli, command: str) -> None:
        done = await cli("dead", command, "12")
        assert (done.exit_code, done.stderr.startswith("There is no dead letter '12'")) == (1, True)

    @pytest.mark.parametrize("number", ["0", "1001", "x"])
    async def test_the_command_knows_how_many_there_can_be(self, cli: Cli, number: str) -> None:
        assert (await cli("dead", "list", "-n", number)).exit_code == 2

    async def test_without_a_broker_it_is_503(self, client: Client, world: World) -> None:
        await world.bus.close()
        assert outcome(await client.get("/api/v1/dead-letters")) == (503, "bus_unavailable")
        assert outcome(await client.post("/api/v1/dead-letters/1/replay")) == (503, "bus_unavailable")

    async def test_a_page_elsewhere_may_not_replay(self, client: Client, world: World) -> None:
        letter = await one_letter(client, world)
        headers = {"Origin": "https://elsewhere.example"}
        answer = await client.post(f"/api/v1/dead-letters/{letter}/replay", headers=headers)
        assert outcome(answer) == (403, "origin_not_allowed")


def test_headers_of_any_broker_can_be_shown() -> None:
    headers = {"bytes": b"\xff", "time": datetime(2026, 11, 21, tzinfo=UTC), "list": [{"count": 1, 2: (None, 1.5)}]}
    letter = DeadLetter("7", "q", "why", datetime(2026, 11, 21, tzinfo=UTC), Message(("a.b",), headers, b"[1]"), True)
    shown = record_of(letter).model_dump(mode="json")
    assert shown["headers"] == {
        "bytes": "�",
        "time": "2026-11-21 00:00:00+00:00",
        "list": [{"count": 1, "2": [None, 1.5]}],
    }
    assert (shown["data"], shown["parked"], shown["type"]) == ([1], True, "")
