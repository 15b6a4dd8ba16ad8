"""Frames as we write them, beside what the library makes of the same message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from messages.runs import RunStopPassed
from messages.wire import encode
from shared.bus.amqp.codec import properties
from shared.bus.amqp.letters import Letter, frames_of
from tests.each import each

STOP = encode(RunStopPassed(subject="run", project="p", epoch=1, incarnation="worker", traceparent="00-1"))


def of_ours(**headers: Any) -> Basic.Properties:
    made = properties(STOP)
    made.headers = {**(made.headers or {}), **headers}
    return made


TOLD = {
    "of ours": of_ours(),
    "live": properties(STOP, persistent=False),
    "with odd headers": of_ours(a=True, b=-5, c=70_000, d=-(2**40), e=1.5, f=None, g={"h": [1]}, ü="é" * 300),
    "without headers": Basic.Properties(content_type="application/json"),
    "with nothing": Basic.Properties(),
    "with a property of others": Basic.Properties(priority=3, timestamp=datetime(2026, 1, 1, tzinfo=UTC)),
    "with a name that is too long": of_ours(**{"n" * 200: "x"}),
}


def vars_of(frame: Any) -> Any:
    return frame.value if isinstance(frame, ContentBody) else dict(frame)


def read(data: bytes) -> list[Any]:
    found = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        told = dict(frame.properties) if isinstance(frame, ContentHeader) else vars_of(frame)
        found.append((channel, type(frame), getattr(frame, "body_size", 0), told))
        data = data[size:]
    return found


@each("name", sorted(TOLD))
def test_the_library_reads_what_was_meant(name: str) -> None:
    letter = Letter("events", "execution.stopped.default.é", TOLD[name], b"{}")
    publish, header, body = read(b"".join(frames_of(letter, 7, 100)))
    expected = pamqp.frame.marshal(ContentHeader(body_size=2, properties=TOLD[name]), 7)
    assert [header] == read(expected)
    assert (publish[3]["exchange"], publish[3]["routing_key"], body[3]) == (*letter[:2], b"{}")


@pytest.mark.parametrize(("size", "pieces"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_a_long_body_goes_in_pieces(size: int, pieces: list[int]) -> None:
    letter = Letter("", "q", of_ours(), b"x" * size)
    _, header, *bodies = read(b"".join(frames_of(letter, 1, 100)))
    assert (header[2], [len(told) for *_, told in bodies]) == (size, pieces)


@each("value", [object(), 2**70])
def test_what_amqp_has_no_type_for_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        list(frames_of(Letter("", "q", of_ours(x=value), b""), 1, 100))
