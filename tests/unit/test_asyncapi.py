"""The AsyncAPI document is valid, and says of every event what is true of it on the wire."""

from __future__ import annotations

import ast
import gc
import inspect
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from typer.testing import CliRunner

from messages.base import ENVELOPE, Event, Kind, is_inbox
from messages.runs import RunHandedOver
from messages.wire import EVENTS
from services.asyncapi import document
from services.docstrings import _parsed, field_docs
from shared.bus.base import KEEP, Queue
from shared.bus.topology import ALL, matches
from tests.each import each
from tests.goldens import type_of
from voxloom.cli.program import app
from voxloom.models import Value

TESTS = Path(__file__).parents[1]
GOLDEN = sorted((TESTS / "golden").glob("*.json"))
EVERY_GOLDEN = each("path", GOLDEN, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return document()


def faults(schema: Any, value: Any, told: dict[str, Any]) -> list[str]:
    """What a value has that a schema of the document does not allow."""
    whole = {**schema, "components": told["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


def test_the_document_is_valid_asyncapi_3_0(told: dict[str, Any]) -> None:
    schema = orjson.loads((TESTS / "asyncapi" / "3.0.0.json").read_bytes())
    assert [error.message for error in Draft7Validator(schema).iter_errors(told)] == []
    assert told["asyncapi"] == "3.0.0"


def test_the_schema_of_asyncapi_sees_what_is_wrong(told: dict[str, Any]) -> None:
    schema = orjson.loads((TESTS / "asyncapi" / "3.0.0.json").read_bytes())
    wrong = {**told, "channels": {"a.b": {"addres": "a.b.{project}.{id}"}}}
    assert not Draft7Validator(schema).is_valid(wrong)


def test_every_reference_leads_somewhere(told: dict[str, Any]) -> None:
    lost = [ref for ref in references(told) if not leads_somewhere(told, ref)]
    assert lost == []


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for one in value for ref in references(one)]
    if not isinstance(value, dict):
        return []
    return [one for name, one in value.items() if name == "$ref"] + references(list(value.values()))


def leads_somewhere(value: Any, ref: str) -> bool:
    for part in ref.removeprefix("#/").split("/"):
        if part not in value:
            return False
        value = value[part]
    return True


def channel_of(kind: Kind) -> str:
    return "inbox.worker" if kind.event is RunHandedOver else kind.name


def test_every_event_is_a_message_in_the_channel_of_its_kind(told: dict[str, Any]) -> None:
    for name, kind in EVENTS.items():
        assert name in told["components"]["messages"]
        assert name in told["channels"][channel_of(kind)]["messages"]


def test_what_lasts_and_what_is_news_go_through_exchanges_of_their_own(told: dict[str, Any]) -> None:
    for kind in EVENTS.values():
        exchange = told["channels"][channel_of(kind)]["bindings"]["amqp"]["exchange"]
        assert exchange["name"] == ("live" if kind.event.transient else "events")


@EVERY_GOLDEN
def test_a_golden_is_as_the_document_says(path: Path, told: dict[str, Any]) -> None:
    golden = orjson.loads(path.read_bytes())
    message = told["components"]["messages"][type_of(path)]
    assert faults(message["payload"], golden["data"], told) == []
    assert faults(message["headers"], golden["headers"], told) == []


@EVERY_GOLDEN
def test_the_routing_keys_of_a_golden_fit_the_addresses(path: Path, told: dict[str, Any]) -> None:
    golden = orjson.loads(path.read_bytes())
    channels = [one for one in told["channels"].values() if type_of(path) in one["messages"]]
    patterns = [".".join("*" if "{" in word else word for word in one["address"].split(".")) for one in channels]
    fitting = [[pattern for pattern in patterns if matches(pattern, key)] for key in golden["routing_keys"]]
    assert sorted(fitting) == sorted([pattern] for pattern in patterns)


@EVERY_GOLDEN
def test_data_without_a_field_that_the_event_needs_is_not_allowed(path: Path, told: dict[str, Any]) -> None:
    golden = orjson.loads(path.read_bytes())
    needed = {name for name, field in EVENTS[type_of(path)].event.model_fields.items() if field.is_required()} - set(
        ENVELOPE
    )
    for name in needed:
        rest = {field: value for field, value in golden["data"].items() if field != name}
        assert faults(told["components"]["messages"][type_of(path)]["payload"], rest, told)


def test_the_envelope_travels_in_the_headers_alone(told: dict[str, Any]) -> None:
    for kind in EVENTS.values():
        assert not set(ENVELOPE) & set(told["components"]["schemas"][kind.event.__name__]["properties"])


def test_what_is_no_event_keeps_fields_of_such_names(told: dict[str, Any]) -> None:
    assert set(told["components"]["schemas"]["Holding"]["properties"]) == {"run", "attempt"}


@each("name", sorted(EVENTS))
def test_every_event_is_described(name: str, told: dict[str, Any]) -> None:
    message = told["components"]["messages"][name]
    assert message["description"].startswith(message["summary"].removesuffix("."))


def test_what_is_said_of_a_field_is_in_its_schema(told: dict[str, Any]) -> None:
    schema = told["components"]["schemas"]["Result"]["properties"]["staged"]
    assert schema["description"] == "How many files the attempt has posted."


def test_for_every_queue_it_is_told_what_it_hears(told: dict[str, Any]) -> None:
    for queue in ALL:
        heard = {name for name in told["operations"] if name.startswith(f"receive.{queue.name}.")}
        kinds = {kind.name for kind in EVENTS.values() if kind.event is not RunHandedOver}
        fitting = {kind for kind in kinds if any(matches(one, f"{kind}.p.i") for one in queue.bindings)}
        fitting |= set(filter(is_inbox, queue.bindings))
        assert heard == {f"receive.{queue.name}.{kind}" for kind in fitting}
        assert heard


@each(
    "row",
    [
        ("execution.started", "the id of an execution"),
        ("deploy.started", "the id of a deploy"),
        ("worker.started", "the incarnation of a worker"),
        ("scheduler.started", "one life of a scheduler"),
        ("record.deleted", "an id of its own"),
    ],
)
def test_it_is_told_what_the_subject_is(row: tuple[str, str], told: dict[str, Any]) -> None:
    kind, subject = row
    assert told["channels"][kind]["parameters"]["id"]["description"] == f"What it is about: {subject}."


def test_what_is_copied_to_a_worker_says_so(told: dict[str, Any]) -> None:
    binding = told["operations"]["send.execution.requeued"]["bindings"]["amqp"]
    assert (binding["deliveryMode"], binding["cc"]) == (2, ["inbox.worker.{incarnation}"])


class Moved(Event):
    """Two versions of one kind. The older."""

    entities = ("thing",)
    verb = "moved"


class MovedV2(Event):
    entities = ("thing",)
    verb = "moved"
    version = 2


def test_two_versions_of_a_kind_are_two_messages_in_one_channel() -> None:
    told = document(
        {kind.type_name: kind for cls in (Moved, MovedV2) for kind in cls.kinds()}, [Queue("q", ("thing.#",), KEEP)]
    )
    assert list(told["channels"]["thing.moved"]["messages"]) == ["voxloom.thing.moved.v1", "voxloom.thing.moved.v2"]
    assert set(told["operations"]) == {"send.thing.moved", "receive.q.thing.moved", "receive.requests"}


def test_what_others_ask_for_is_a_message_in_a_channel_of_its_own(told: dict[str, Any]) -> None:
    channel, message = told["channels"]["requests"], told["components"]["messages"]["voxloom.execution.asked.v1"]
    assert channel["bindings"]["amqp"]["exchange"]["name"] == "requests"
    named = {"algorithm_name": "a", "algorithm_major_version": "1", "input_dataset_ids": []}
    assert faults(message["payload"], named, told) == []
    assert faults(message["payload"], {**named, "priority": 101}, told)


def test_of_an_event_without_a_text_nothing_is_said() -> None:
    told = document({kind.type_name: kind for kind in MovedV2.kinds()}, [])
    assert "description" not in told["components"]["messages"]["voxloom.thing.moved.v2"]


class Above(Value):
    size: int
    """In
    bytes."""
    silent: int = 0


class Below(Above):
    parts: list[Above] | None = None
    """All of them."""


def test_what_is_said_of_a_field_is_found_in_the_source() -> None:
    assert field_docs([Below]) == {
        ("Below", "size"): "In bytes.",
        ("Below", "parts"): "All of them.",
        ("Above", "size"): "In bytes.",
    }


def test_garbage_whose_end_parses_does_not_disturb_the_reading_of_a_source() -> None:
    """As the traceback of a warning does, which the end of a socket that nobody closed is told with."""

    def parse(phase: str, info: dict[str, int]) -> None:
        ast.parse("x = [1, 2]")

    often = gc.get_threshold()
    gc.callbacks.append(parse)
    gc.set_threshold(1, 1, 1)
    try:
        tree = _parsed(inspect.getsource(inspect))
    finally:
        gc.set_threshold(*often)
        gc.callbacks.remove(parse)
    assert isinstance(tree.body[0], ast.Expr)


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["asyncapi", "--indent", "0"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == document()
