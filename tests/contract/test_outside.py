"""Those outside: what they hear, what they may ask for by messages, and what becomes of the wrong ones."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from shared.control.objects import Limits, Member, Principal
from tests.acceptance.nursery import Nursery
from tests.brokers import Broker
from tests.contract.bus_tools import until
from tests.contract.closed_world import MADE
from tests.contract.outside_world import Outer, asks_on, body, channel_of, new_places, outer_at, run_id
from voxloom.models import utc_now

ODD_BODIES: list[tuple[bytes, str]] = [
    (b"", "request_validation_error"),
    (b"no json", "request_validation_error"),
    (b"[]", "request_validation_error"),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "request_validation_error"),
    (
        b'{"algorithm_name":"Denoise","algorithm_major_version":"1","input_dataset_ids":[NaN]}',
        "request_validation_error",
    ),
    (
        b'{"algorithm_name":"Denoise","algorithm_major_version":"1","input_dataset_ids":["\xff"]}',
        "request_validation_error",
    ),
    (b'"' + b"x" * (17 << 20) + b'"', "too_large"),
    (b"[" + b"1," * 300_000 + b"1]", "request_validation_error"),
]
ODD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    (body("Unknown"), "algorithm_not_found"),
    (body(algorithm_major_version="2"), "algorithm_not_found"),
    (body(algorithm_minor_version="9"), "minor_version_not_found"),
    (body(algorithm_id="x"), "request_validation_error"),
    (body(input_dataset_ids=["nothing"]), "input_datasets_not_found"),
    (body(input_dataset_ids=["x" * 100_000] * 100), "input_datasets_not_found"),
    (body(checkpoint_id="nothing"), "checkpoint_not_found"),
    (body(execution_device_override="tpu"), "request_validation_error"),
    (body(session_token="x" * 201), "request_validation_error"),
    (body(priority=101), "request_validation_error"),
    (body(misspelt=1), "request_validation_error"),
    ({"work": {"task": "execution"}}, "request_validation_error"),
]
ODD_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"headers": {"CC": ["execution.requested.lab2.x"]}}, "message_misaddressed"),
    ({"headers": {"cloudEvents:subject": "another"}}, "message_misaddressed"),
    ({"headers": {"cloudEvents:project": "lab2"}}, "message_misaddressed"),
    ({"headers": {"cloudEvents:type": "voxloom.execution.completed.v1"}}, "message_misaddressed"),
    ({"headers": {"cloudEvents:type": {"no": "text"}}}, "message_misaddressed"),
    ({"headers": {"cloudEvents:time": "2026-11-21T02:57:03"}}, "request_validation_error"),
    ({"headers": {"cloudEvents:time": "9999-12-31T23:59:59Z"}}, "request_validation_error"),
    ({"headers": {"cloudEvents:time": "yesterday"}}, "request_validation_error"),
    ({"content_type": "text/plain"}, "unsupported_media_type"),
    ({"content_type": "application/cloudevents+json"}, "unsupported_media_type"),
    ({"content_encoding": "gzip"}, "unsupported_content_encoding"),
]
NIL, UNKEPT = "00000000-0000-1000-8000-000000000000", str(uuid.uuid4())
ODD_RUNS = [NIL, UNKEPT, "x", "x" * 100, "ffffffff-ffff-1fff-bfff-ffffffffffff"]


@pytest.fixture
async def outer(broker: Broker, tmp_path: Path) -> AsyncIterator[Outer]:
    async with outer_at(broker, tmp_path) as outer:
        yield outer


async def test_a_run_is_asked_for_by_the_name_of_its_algorithm_and_followed(outer: Outer) -> None:
    # Given a member of the project who listens to it
    mia, run = outer.user("mia", project="lab1"), run_id()
    async with outer.listening(mia) as ear, outer.asking(mia) as ask:
        # When they ask for a run
        await ask(run, body(additional_parameters={"x": 1}, session_token="a secret"))
        await outer.has_run(run)
        await outer.world.start(run)
        await outer.world.complete(run)
        # Then it is theirs, and they hear of it to its end
        await ear.has(f"execution.completed.lab1.{run}")
        assert ear.of(run) == ["requested", "assigned", "started", "completed"]
        asked = outer.request(run)
        assert (asked.project, asked.actor, asked.work.algorithm.algorithm_id) == ("lab1", "mia", outer.algorithm)
        assert (asked.work.parameters, asked.work.session_token) == ({"x": 1}, "a secret")
        assert ear.said(f"execution.requested.lab1.{run}")["work"]["session_token"] == ""


async def test_what_is_wrong_is_rejected_with_the_reason_and_never_run(outer: Outer) -> None:
    # Given somebody who may ask, and messages that are wrong in all ways
    mia = outer.user("mia")
    async with outer.listening(mia) as ear, outer.asking(mia) as ask:
        expected: dict[str, str] = {}
        for data, code in [*ODD_BODIES, *ODD_REQUESTS]:
            await ask(run := run_id(), data)
            expected[run] = code
        for facts, code in ODD_MESSAGES:
            await ask(run := run_id(), **facts)
            expected[run] = code
        for run in ODD_RUNS:
            await ask(run)
            expected[run] = "execution_id_unusable"
        for key in ("execution.completed", "training.requested", "execution.*"):
            await ask(run := run_id(), key=f"{key}.lab1.{run}")
            expected[run] = "message_misaddressed"
        # Then whoever listens hears why, and nothing was asked for
        assert {run: await ear.rejected(run) for run in expected} == expected
        assert outer.runs == []
        # And what is right goes through
        await ask(run := run_id())
        await outer.has_run(run)
        await outer.count_is("rejected", len(expected))


async def test_where_nobody_can_be_told_nothing_is_said(outer: Outer, caplog: pytest.LogCaptureFixture) -> None:
    # Given people who may write, and somebody who hears everything
    mia, olga, nobody = (outer.user(name) for name in ("mia", "olga", "nobody"))
    root = outer.user("root")
    async with outer.listening(root, "#") as ear, channel_of(mia) as channel:
        ask = asks_on(channel, mia, outer.algorithm)
        # When it is not known who asks, or they have no part in the project, or no project is named
        await ask(run_id(), user_id=None)
        await ask(run_id(), project="lab2")
        await ask(run_id(), project="nowhere")
        for key in ("", "x", "execution.requested", "execution.requested..x", "#", "." * 255, "é" * 127):
            await ask(run_id(), key=key or ".")
        for url in (olga, nobody):
            async with outer.asking(url) as other:
                await other(run_id())
        await outer.count_is("ignored", 12)
        # Then nobody hears of it, and the log says so together
        assert [key for key in ear.keys if "rejected" in key] == []
        assert outer.runs == []
    with caplog.at_level(logging.WARNING):
        await outer.world.gateway.stop()
    said = [one.getMessage() for one in caplog.records if "were not taken" in one.getMessage()]
    assert len(said) == 1
    assert "of 'olga' ignored (project_not_allowed)" in said[0]


async def test_rights_and_limits_are_those_of_rest(outer: Outer) -> None:
    vera, mia = outer.user("vera"), outer.user("mia")
    async with outer.listening(mia) as ear, outer.asking(vera) as look, outer.asking(mia) as ask:
        # Who may only look is told that they may not
        await look(run := run_id())
        assert await ear.rejected(run) == "forbidden"
        # One run may wait: of two the second is refused
        await outer.control.put(Limits(project="lab1", runs_waiting=1, changed_at=utc_now(), changed_by="root"))
        await outer.world.gateway._control.read_anew()
        await ask(first := run_id())
        await outer.has_run(first)
        await ask(second := run_id())
        assert await ear.rejected(second) == "too_many_runs_waiting"
        # Who was disabled is nobody
        await outer.control.put(Principal(id="mia", disabled=True, **MADE))
        await outer.world.gateway._control.read_anew()
        await ask(run_id())
        await outer.count_is("ignored", 1)
    assert outer.runs == [first]


async def test_a_message_that_comes_twice_starts_one_run(outer: Outer) -> None:
    mia, max_ = outer.user("mia"), outer.user("max")
    async with outer.listening(mia) as ear, outer.asking(mia) as ask, outer.asking(max_) as other:
        run = run_id()
        for _ in range(3):
            await ask(run, message_id="one")
        await outer.count_is("repeated", 2)
        # Another run under the same name, and the same run under another, are none of it
        await ask(again := run_id(), message_id="one")
        assert await ear.rejected(again) == "idempotency_key_reused"
        await ask(run, message_id="two")
        assert await ear.rejected(run) == "execution_id_taken"
        # What others call theirs is their own
        await other(theirs := run_id(), message_id="one")
        await outer.has_run(theirs)
        assert outer.runs == [run, theirs]


async def test_who_is_limited_to_a_project_hears_nothing_of_another(outer: Outer) -> None:
    # Given members of two projects, each limited to theirs, and a run in each
    await outer.control.put(Member(project="lab2", principal="mia", role="member", **MADE))
    await outer.world.gateway._control.read_anew()
    mia, listener = outer.user("mia"), outer.user("listener", project="lab1", asks=False)
    async with outer.listening(listener, "*.*.lab1.#") as ear, outer.asking(mia) as ask:
        await ask(other := run_id(), body("None"), project="lab2")
        await outer.count_is("rejected", 1)
        await ask(run := run_id())
        await ear.has(f"execution.requested.lab1.{run}")
        assert ear.of(other) == []
        assert {key.split(".")[2] for key in ear.keys} == {"lab1"}


async def test_a_full_queue_of_one_who_listens_holds_up_nobody(outer: Outer) -> None:
    # Given somebody whose queue refuses all beyond one message, and who takes none
    slow, mia = outer.user("slow", asks=False), outer.user("mia")
    async with channel_of(slow) as channel, outer.listening(mia) as ear, outer.asking(mia) as ask:
        arguments: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue(exclusive=True, arguments=arguments)
        await queue.bind("events", "#")
        # When there is more, then all others hear it
        runs = [run_id() for _ in range(5)]
        for run in runs:
            await ask(run)
        for run in runs:
            await ear.has(f"execution.requested.lab1.{run}")


@pytest.mark.parametrize("auth", ["closed", "open"])
async def test_what_is_said_outside_never_comes_back_as_a_question(broker: Broker, tmp_path: Path, auth: str) -> None:
    async with outer_at(broker, tmp_path, auth=auth) as outer:
        mia, project = outer.user("mia"), "lab1" if auth == "closed" else "default"
        # Given somebody who has bound one exchange to the other, and has a queue that passes on what dies in it
        async with channel_of(mia) as channel, outer.listening(mia, "#") as ear:
            asking = await channel.get_exchange("requests", ensure=False)
            await asking.bind("events", f"*.*.{project}.#")
            arguments: dict[str, Any] = {"x-message-ttl": 0, "x-dead-letter-exchange": "requests"}
            queue = await channel.declare_queue(exclusive=True, arguments=arguments)
            await queue.bind("events", f"*.*.{project}.#")
            # When something is rejected
            ask = asks_on(channel, mia, outer.algorithm)
            await ask(run := run_id(), body("Unknown"), project=project)
            assert await ear.rejected(run, project) == "algorithm_not_found"
            # Then that comes back on both ways, and nothing comes of it
            await outer.count_reaches("ignored", 2)
            await ask(good := run_id(), project=project)
            await ear.has(f"execution.requested.{project}.{good}")
            await outer.count_reaches("ignored", 4)
            assert await outer.figure("rejected") == 1


async def test_on_an_open_server_whoever_may_write_is_anybody(broker: Broker, tmp_path: Path) -> None:
    async with outer_at(broker, tmp_path, auth="open") as outer:
        anybody = outer.user("anybody")
        async with outer.listening(anybody, "#") as ear, outer.asking(anybody) as ask:
            # When somebody asks, with a name or without
            await ask(run := run_id(), project="default", user_id=None)
            await outer.has_run(run)
            assert (outer.request(run).project, outer.request(run).actor) == ("default", None)
            # Then there is no other project than the one
            await ask(other := run_id(), project="lab1")
            assert await ear.rejected(other) == "project_not_allowed"
            assert outer.runs == [run]


async def test_a_user_of_the_broker_can_be_another_principal(broker: Broker, tmp_path: Path) -> None:
    async with outer_at(broker, tmp_path, outside_users={"lims": "mia"}) as outer:
        lims = outer.user("lims")
        async with outer.asking(lims) as ask:
            await ask(run := run_id())
            await outer.has_run(run)
            assert outer.request(run).actor == "mia"


async def test_whoever_floods_is_told_when_there_is_no_room(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given room for ten, and a gateway that has stopped
    monkeypatch.setattr("shared.bus.outside.MOST_REQUESTS", 10)
    async with outer_at(broker, tmp_path) as outer:
        mia = outer.user("mia")
        await outer.world.gateway.stop()
        # When many ask
        taken, refused = [], 0
        async with outer.asking(mia) as ask:
            for _ in range(40):
                run = run_id()
                try:
                    await ask(run)
                except aio_pika.exceptions.DeliveryError:
                    refused += 1
                else:
                    taken.append(run)
        assert 10 <= len(taken) <= 20
        assert refused == 40 - len(taken)
        # Then what was taken is there for the next gateway, and nothing else
        outer.world = await outer.another_gateway()
        await until(lambda: len(outer.runs) == len(taken))
        assert sorted(outer.runs) == sorted(taken)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_gateway_that_is_killed_over_a_message_loses_and_doubles_nothing(
    broker: Broker, tmp_path: Path, nursery: Nursery, moment: str
) -> None:
    # Given a message that waits, and a gateway that is killed when it asks for the run
    places = new_places(broker)
    async with outer_at(broker, tmp_path, places=places, auth="open") as outer:
        mia = outer.user("mia")
        await outer.world.gateway.stop()
        async with outer.asking(mia) as ask:
            await ask(run := run_id(), project="default")
    dying = nursery.begin(
        [str(tmp_path), *places, moment],
        module="tests.contract.outside_process",
        environment=os.environ,
        output=tmp_path / "output",
        log=tmp_path / "log",
        cwd=tmp_path,
    )
    assert await asyncio.to_thread(dying.wait, 60.0) == -9
    # When another one takes over, then there is one run
    async with outer_at(broker, tmp_path, places=places, auth="open") as outer:
        await outer.count_is("repeated", 1)
        await outer.has_run(run)
        assert outer.runs == [run]
    for url in places:
        broker.remove_vhost(url)
