"""Events and their bytes: what is on the wire once stays readable.

tests/golden has one message of every event and version, with all of its fields filled in. A new event brings its
own; a field that is added goes into the golden, or, where it is seldom said, into one beside it; a breaking change is a
new version with a golden of its own, and the old one stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from messages.base import LONGEST_WORD, Event
from messages.files import FileUploaded
from messages.gateways import GatewayStarted
from messages.runs import RunProgressed
from messages.wire import DEEPEST, EVENTS, PREFIX, Message, UndecodableMessage, UnknownVersion, decode, encode
from tests.each import each
from tests.goldens import type_of

GOLDEN = Path(__file__).parent.parent / "golden"
EVERY_GOLDEN = each("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)


def load(path: Path) -> Message:
    golden = orjson.loads(path.read_bytes())
    return Message(tuple(golden["routing_keys"]), golden["headers"], orjson.dumps(golden["data"]))


def as_value(message: Message) -> dict[str, Any]:
    return {"keys": message.routing_keys, "headers": dict(message.headers), "data": orjson.loads(message.body)}


def an_event() -> Message:
    return encode(FileUploaded(subject="f", size=1, etag="e"))


@each("name", sorted(EVENTS))
def test_every_event_has_a_golden(name: str) -> None:
    assert (GOLDEN / f"{name}.json").exists(), f"add tests/golden/{name}.json: routing_keys, headers and data of one"


@EVERY_GOLDEN
def test_a_golden_is_read_and_written_back_the_same(path: Path) -> None:
    message = load(path)
    assert as_value(encode(decode(message.headers, message.body, message.routing_keys))) == as_value(message)


@EVERY_GOLDEN
def test_a_golden_is_of_the_event_it_is_named_after(path: Path) -> None:
    message = load(path)
    assert decode(message.headers, message.body).kind == EVENTS[type_of(path)]


@EVERY_GOLDEN
def test_a_golden_shows_something_in_every_field(path: Path) -> None:
    message = load(path)
    data = orjson.loads(message.body)
    assert [name for name, value in data.items() if value in (None, "", [], {})] == []


@EVERY_GOLDEN
def test_fields_we_do_not_know_are_passed_over(path: Path) -> None:
    message = load(path)
    headers = {**message.headers, f"{PREFIX}tenant": "x", "x-first-death-queue": "q", "content-type": "y"}
    body = orjson.dumps({**orjson.loads(message.body), "a_field_of_tomorrow": {"deep": [1]}})
    assert decode(headers, body) == decode(message.headers, message.body)


@EVERY_GOLDEN
def test_fields_that_came_later_may_be_missing(path: Path) -> None:
    message = load(path)
    event = decode(message.headers, message.body)
    required = {name: value for name, value in orjson.loads(message.body).items() if _is_required(event, name)}
    headers = {name: value for name, value in message.headers.items() if not name.endswith("traceparent")}
    assert decode(headers, orjson.dumps(required)).subject == event.subject


def _is_required(event: Event, name: str) -> bool:
    return type(event).model_fields[name].is_required()


@EVERY_GOLDEN
def test_a_version_newer_than_ours_is_told_from_rubbish(path: Path) -> None:
    message = load(path)
    newer = str(message.headers[f"{PREFIX}type"]).rpartition(".v")[0] + ".v3"
    with pytest.raises(UnknownVersion, match="upgrade"):
        decode({**message.headers, f"{PREFIX}type": newer}, message.body)


def test_a_kind_of_a_newer_program_is_told_from_rubbish() -> None:
    with pytest.raises(UnknownVersion, match="upgrade"):
        decode({**an_event().headers, f"{PREFIX}type": "voxloom.note.written.v1"}, b"{}")


@pytest.mark.parametrize(
    "kind", ["", "voxloom", "voxloom.file.uploaded", "voxloom.file.uploaded.vX", "voxloom.file.uploaded.v", "x.y.z.v1"]
)
def test_a_type_that_is_none_of_ours_is_undecodable(kind: str) -> None:
    with pytest.raises(UndecodableMessage) as raised:
        decode({**an_event().headers, f"{PREFIX}type": kind}, b"{}")
    assert not isinstance(raised.value, UnknownVersion)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"size": "many", "etag": "e"}',
        b'{"etag": "e"}',
        b"[" * 9999,
    ],
)
def test_data_that_does_not_fit_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableMessage, match=r"voxloom\.file\.uploaded\.v1"):
        decode(an_event().headers, body)


@pytest.mark.parametrize("name", ["subject", "time", "attempt"])
def test_an_attribute_that_is_no_such_thing_is_undecodable(name: str) -> None:
    with pytest.raises(UndecodableMessage):
        decode({**an_event().headers, f"{PREFIX}{name}": {"odd": 1}}, b'{"size": 1, "etag": "e"}')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "2026-11-21T02:57:03"),  # no zone
        ("time", "0001-01-01T00:00:00+14:00"),
        ("time", "9999-12-31T23:59:59-14:00"),
        ("time", 10**15),
        ("subject", ""),
        ("subject", "x" * 5000),
        ("subject", "two words"),
        ("subject", "more.words"),
        ("subject", "../up"),
        ("subject", "line\n"),
        ("id", ""),
        ("id", "../up"),
        ("id", "x" * 5000),
        ("project", ""),
        ("project", "a.b"),
        ("project", "x" * 300),
        ("source", "x" * 5000),
        ("source", "\x00"),
        ("attempt", -1),
        ("attempt", 10**30),
        ("attempt", 2**63),
        ("traceparent", "x" * 5000),
    ],
)
def test_an_attribute_that_nobody_could_keep_is_undecodable(name: str, value: object) -> None:
    message = encode(GatewayStarted(subject="g"))
    with pytest.raises(UndecodableMessage) as raised:
        decode({**message.headers, f"{PREFIX}{name}": value}, message.body)
    assert len(str(raised.value)) < 1500


@each("name", ["", " ", "nul\0", "x" * 901, "é" * 451])
def test_a_file_has_a_name_that_a_key_can_have(name: str) -> None:
    with pytest.raises(UndecodableMessage):
        decode({**an_event().headers, f"{PREFIX}subject": name}, an_event().body)


@each("name", ["two words", "more.words", "../up", "žluťoučký-顕微鏡", "é" * 75, "é" * 75 + "x", "x" * 900])
def test_a_file_may_have_any_other_name_and_its_key_fits(name: str) -> None:
    message = encode(FileUploaded(subject=name, size=1, etag="e", project="p" * 64))
    (key,) = message.routing_keys
    assert len(key.encode()) <= 255
    assert (name in key) == (len(name.encode()) <= LONGEST_WORD)
    assert decode(message.headers, message.body, message.routing_keys).subject == name


def test_a_key_as_long_as_earlier_versions_have_made_it_is_the_events_own() -> None:
    message = encode(FileUploaded(subject="x" * 800, size=1, etag="e"))
    assert decode(message.headers, message.body, [f"file.uploaded.default.{'x' * 800}"]).subject == "x" * 800


def test_a_run_has_a_uuid() -> None:
    message = encode(RunProgressed(subject="run", progress=0.5))
    with pytest.raises(UndecodableMessage, match="UUID"):
        decode(message.headers, message.body)


@each("key", ["", "file.uploaded.default.g", "file.uploaded.other.f", "file.committed.default.f", "inbox.worker.f"])
def test_an_event_under_a_key_that_is_not_its_own_is_undecodable(key: str) -> None:
    message = an_event()
    with pytest.raises(UndecodableMessage, match="came under"):
        decode(message.headers, message.body, (*message.routing_keys, key))


def test_an_event_may_come_to_an_inbox_alone() -> None:
    message = load(GOLDEN / "voxloom.execution.assigned.v1.json")
    assert decode(message.headers, message.body, message.routing_keys[1:]).subject in message.routing_keys[0]


@each("levels", [DEEPEST + 1, 1000])
def test_data_too_deep_to_be_written_again_is_undecodable(levels: int) -> None:
    message = load(GOLDEN / "voxloom.execution.state-set.v1.json")
    deep = b'{"state": {"a": ' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"
    with pytest.raises(UndecodableMessage, match="deep"):
        decode(message.headers, deep)


def test_data_as_deep_as_may_be_is_written_again() -> None:
    message = load(GOLDEN / "voxloom.execution.state-set.v1.json")
    deep = b'{"state":{"a":' + b"[" * (DEEPEST - 2) + b"]" * (DEEPEST - 2) + b"}}"
    assert encode(decode(message.headers, deep)).body == deep


def test_a_message_without_headers_is_undecodable() -> None:
    with pytest.raises(UndecodableMessage):
        decode({}, b"{}")


def test_the_data_cannot_forge_the_envelope() -> None:
    message = an_event()
    forged = orjson.dumps({**orjson.loads(message.body), "subject": "g", "project": "theirs"})
    event = decode(message.headers, forged)
    assert (event.subject, event.project) == ("f", "default")


def test_attributes_are_those_of_cloudevents() -> None:
    event = FileUploaded(subject="f", size=1, etag="e", project="lab-7", attempt=2)
    headers = {name.removeprefix(PREFIX): value for name, value in encode(event).headers.items()}
    assert headers == {
        "specversion": "1.0",
        "id": event.id,
        "source": "voxloom",
        "type": "voxloom.file.uploaded.v1",
        "subject": "f",
        "time": event.time.isoformat(timespec="microseconds"),
        "project": "lab-7",
        "attempt": 2,
    }


def test_the_routing_key_names_entity_verb_project_and_subject() -> None:
    event = RunProgressed(subject="run", project="lab-7", progress=0.5)
    assert encode(event).routing_keys == ("execution.progressed.lab-7.run",)


@each("name", sorted(EVENTS))
def test_types_are_three_words_and_a_version(name: str) -> None:
    prefix, entity, verb, version = name.split(".")
    assert (prefix, version[0], version[1:].isdigit()) == ("voxloom", "v", True)
    assert f"{entity}{verb}".replace("-", "").isalpha()
