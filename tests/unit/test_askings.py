"""What a message from outside is taken for, and what is said of wrong ones."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from messages.outside import ExecutionRejected
from services.gateway.operations import askings
from services.gateway.operations.askings import Place, check, is_passed_on, place_of, read, said_of
from shared.bus.outside import TOLD, Asking
from tests.each import each
from voxloom.errors import InvalidInput, NotFound, TooLarge, VoxloomError
from voxloom.ids import age_of, new_id

RUN = new_id()
NOW = 1_800_000_000.0
NAMED = b'{"algorithm_name":"a","algorithm_major_version":"1","input_dataset_ids":[]%b}'


def made_at(seconds: float) -> str:
    """A run's id of that time."""
    ticks = int((seconds + 12_219_292_800) * 1e7)
    return str(uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000, 0x80, 0, 1)))


def asking(**facts: Any) -> Asking:
    told: dict[str, Any] = {"user": "anna", "key": f"execution.requested.lab1.{RUN}", "message_id": "m", "headers": {}}
    told |= {"content_type": None, "content_encoding": None, "body": NAMED % b""}
    return Asking(**{**told, **facts})


@each(
    "row",
    [
        (f"execution.requested.lab1.{RUN}", Place("lab1", RUN, True)),
        ("execution.requested.lab1.x", Place("lab1", "x", True)),
        ("execution.completed.lab1.x", Place("lab1", "x", False)),
        ("training.requested.lab1.x", Place("lab1", "x", False)),
        ("execution.requested.lab1.a.b", Place("lab1", "", False)),
        ("execution.requested.lab1.a b", Place("lab1", "", False)),
        ("execution.requested.lab1.", Place("lab1", "", False)),
        ("execution.requested.lab1", Place("lab1", "", False)),
        ("execution.requested.*.x", None),
        ("execution.requested.#", None),
        ("execution.requested..x", None),
        ("execution.requested.lab\n.x", None),
        ("execution.requested.läb.x", None),
        (f"execution.requested.{'x' * 65}.x", None),
        ("", None),
    ],
)
def test_a_key_says_whose_a_message_is(row: tuple[str, Place | None]) -> None:
    key, place = row
    assert place_of(key) == place


@each(
    "row",
    [
        (made_at(NOW), ""),
        (made_at(NOW + 59), ""),
        (made_at(NOW - 86_399), ""),
        (made_at(NOW + 61), "execution_id_unusable"),
        (made_at(NOW - 86_401), "execution_id_unusable"),
        (made_at(NOW).upper(), "execution_id_unusable"),
        (made_at(NOW).replace("-", ""), "execution_id_unusable"),
        (str(uuid.uuid4()), "execution_id_unusable"),
        ("x", "execution_id_unusable"),
    ],
)
def test_a_run_has_an_id_of_its_time(row: tuple[str, str]) -> None:
    """Records lie in the store by the times of their ids, and gateways wait for what is young."""
    run, code = row
    assert code_of(asking(key=f"execution.requested.lab1.{run}"), NOW) == code


def code_of(message: Asking, now: float | None = None) -> str:
    place = place_of(message.key)
    assert place is not None
    try:
        check(message, place, (now if now is not None else made(place.subject)))
    except VoxloomError as error:
        return error.code
    return ""


def made(run: str) -> float:
    """When it was."""
    return -(age_of(run, now=0.0) or 0.0)


@each(
    "row",
    [
        ({}, ""),
        ({"headers": {"cloudEvents:project": "lab1", "cloudEvents:subject": RUN, "more": 1}}, ""),
        ({"headers": {"cloudEvents:type": "voxloom.execution.asked.v1", "cloudEvents:specversion": "1.0"}}, ""),
        ({"headers": {"cloudEvents:time": "2026-11-21T02:57:03Z"}}, ""),
        ({"headers": {"cloudEvents:time": None}}, ""),
        ({"headers": {"cloudEvents:time": "1969-01-01T00:00:00Z"}}, "request_validation_error"),
        ({"headers": {"cloudEvents:time": "2026-11-21"}}, "request_validation_error"),
        ({"headers": {"cloudEvents:time": float("nan")}}, "request_validation_error"),
        ({"headers": {"cloudEvents:time": 10**300}}, "request_validation_error"),
        ({"headers": {"cloudEvents:time": ["2026-11-21T02:57:03Z"]}}, "request_validation_error"),
        ({"headers": {"cloudEvents:type": "voxloom.execution.requested.v2"}}, "message_misaddressed"),
        ({"headers": {"cloudEvents:project": None}}, "message_misaddressed"),
        ({"headers": {"CC": []}}, "message_misaddressed"),
        ({"headers": {"BCC": ["x"]}}, "message_misaddressed"),
        ({"key": f"execution.started.lab1.{RUN}"}, "message_misaddressed"),
        ({"content_type": "application/json; charset=utf-8"}, ""),
        ({"content_type": "APPLICATION/JSON"}, ""),
        ({"content_type": "x" * 255}, "unsupported_media_type"),
        ({"content_encoding": "utf-8"}, ""),
        ({"content_encoding": "gzip"}, "unsupported_content_encoding"),
        ({"deliveries": 19}, ""),
        ({"deliveries": 20}, "message_given_up"),
    ],
)
def test_a_message_is_looked_at_before_its_body(row: tuple[dict[str, Any], str]) -> None:
    facts, code = row
    assert code_of(asking(**facts)) == code


@each("row", [({TOLD: 1}, True), ({"x-death": []}, True), ({"x-opt-a": 1}, False), ({}, False)])
def test_what_nobody_has_sent_is_known(row: tuple[dict[str, Any], bool]) -> None:
    headers, expected = row
    assert is_passed_on(asking(headers=headers)) is expected


@each(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"input_dataset_ids":[]}',
        b'{"algorithm_name":"a","input_dataset_ids":[]}',
        b'{"algorithm_major_version":"1","algorithm_id":"x","input_dataset_ids":[]}',
        NAMED % b',"algorithm_id":"x"',
        NAMED % b',"priority":Infinity',
        NAMED % b',"priority":1e400',
        NAMED % (b',"priority":' + b"9" * 5000),
        NAMED % b',"session_token":1',
        NAMED % b',"algorithm_name":{}',
        NAMED % b',"additional_parameters":[]',
        NAMED % b',"Priority":1',
        NAMED % (b',"additional_parameters":' + b'{"a":' * 100 + b"1" + b"}" * 101),
        b"\xef\xbb\xbf" + NAMED % b"",
        (NAMED % b"").decode().encode("utf-16"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput) as told:
        read(asking(body=body), 1 << 20)
    assert told.value.code == "request_validation_error"


def test_a_body_has_no_more_bytes_than_over_rest() -> None:
    with pytest.raises(TooLarge):
        read(asking(body=b" " * 11), 10)


@each(
    "row",
    [
        (NAMED % b',"additional_parameters":null,"priority":-100', {"additional_parameters": {}, "priority": -100}),
        (b'{"algorithm_id":"x","input_dataset_ids":["f"]}', {"input_dataset_ids": ["f"]}),
    ],
)
def test_a_request_is_what_rest_would_make_of_it(row: tuple[bytes, dict[str, Any]]) -> None:
    body, expected = row
    pinned = askings.pinned(read(asking(body=body), 1 << 20), "x")
    assert pinned.algorithm_id == "x"
    assert pinned.model_dump(include=set(expected)) == expected


def test_a_rejection_can_always_be_sent() -> None:
    error = NotFound("x" * 100_000, code="c", details={"missing": ["y" * 1000] * 1000})
    event = ExecutionRejected(subject=RUN, message_id="m", error=said_of(error))
    assert (event.error.code, len(event.error.message), event.error.details) == ("c", askings.LONGEST_MESSAGE, None)
    assert said_of(NotFound("x", details={"a": object()})).details is None
    assert said_of(NotFound("x", details={"a": 1})).details == {"a": 1}
