"""Frames as we read them, beside what the library makes of the same bytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aiormq
import pamqp.frame
import pytest
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from messages.files import FileUploaded
from messages.wire import encode
from shared.bus.amqp.codec import OFFSET, properties
from shared.bus.amqp.frames import Connection, Frames, next_frame
from shared.bus.amqp.straight import Straight
from tests.each import each

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def of_ours(**headers: Any) -> Basic.Properties:
    made = properties(encode(FileUploaded(subject="é", size=1, etag="e", traceparent="00-1")))
    made.headers = {**(made.headers or {}), **headers}
    return made


QUICK = {
    "delivery": Basic.Deliver("ctag1.0", 2**40, False, "events", "execution.started.default.é"),
    "delivery again": Basic.Deliver("", 1, True, "", "q"),
    "header": ContentHeader(0, 17, of_ours()),
    "header from a stream": ContentHeader(0, 2**33, of_ours(**{OFFSET: 2**40, "CC": ["inbox.worker.w", "b"]})),
    "header with odd values": ContentHeader(
        0,
        0,
        of_ours(a=True, b=-5, c=70_000, d=-(2**40), e=1.5, f=None, g={"h": [1]}, i=datetime(2026, 1, 1, tzinfo=UTC)),
    ),
    "header with nothing": ContentHeader(0, 0, Basic.Properties()),
    "header with text that is none": ContentHeader(0, 0, of_ours(a=bytearray(b"\xff\xfe"))),
    "body": ContentBody(b"{}" * 50),
}
SLOW = {
    "header of somebody else": ContentHeader(
        0, 5, Basic.Properties(app_id="x", priority=3, timestamp=MOMENT, headers={"a": "b"})
    ),
    "ack": Basic.Ack(3, multiple=True),
    "close": Channel.Close(404, "NOT_FOUND", 60, 10),
    "heartbeat": Heartbeat(),
}
ALL = {**QUICK, **SLOW}


def written(*some: Any) -> bytes:
    return b"".join(pamqp.frame.marshal(one, 0 if isinstance(one, Heartbeat) else 7) for one in some)


def shown(frame: Any) -> Any:
    if isinstance(frame, ContentHeader):
        return "header", frame.class_id, frame.weight, frame.body_size, dict(frame.properties)
    return type(frame), frame.value if isinstance(frame, ContentBody) else dict(getattr(frame, "__iter__", dict)())


def by_the_library(data: bytes) -> tuple[int, int, Any]:
    size, channel, frame = pamqp.frame.unmarshal(data)
    return size, channel, shown(frame)


def ours(data: bytes, at: int = 0) -> tuple[int, int, Any] | None:
    found = next_frame(data, at)
    return None if found is None else (found[0], found[1], shown(found[2]))


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_data: bytes) -> Any:
        raise AssertionError("the library was asked")

    monkeypatch.setattr(pamqp.frame, "unmarshal", refuse)


@each("name", sorted(ALL))
def test_a_frame_is_what_the_library_makes_of_it(name: str) -> None:
    data = written(ALL[name])
    assert ours(b"junk" + data + b"more", 4) == by_the_library(data)


@each("name", sorted(QUICK.keys() - {"header with text that is none"}))
def test_deliveries_are_read_without_it(name: str, no_library: None) -> None:
    assert next_frame(written(QUICK[name]), 0) is not None


@each("name", sorted(ALL))
def test_a_frame_whose_end_has_not_come_is_waited_for(name: str) -> None:
    data = written(ALL[name])
    assert [next_frame(data[:size], 0) for size in range(len(data))] == [None] * len(data)


def outcome(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return repr(read(data))  # there are numbers that are not equal to themselves
    except Exception as error:  # noqa: BLE001 - whatever it is, it has to be the same
        return type(error)


@each("name", sorted(QUICK))
def test_what_is_odd_is_as_odd_as_the_library_finds_it(name: str) -> None:
    # Given a frame each of whose bytes is spoilt in turn, but for those that say how long it is
    data = written(QUICK[name])
    for at in range(7, len(data)):
        for value in (0, 0x53, 0xFF):
            spoilt = data[:at] + bytes([value]) + data[at + 1 :]
            # Then both find the same in it, or we find as much as can be read, and what follows it is not touched
            found, theirs = outcome(ours, spoilt + data), outcome(by_the_library, spoilt)
            assert found == theirs or (isinstance(theirs, type) and is_what_is_left(spoilt))


def is_what_is_left(data: bytes) -> bool:
    """Whether a frame is read as what holds a message together, without what cannot be read of it."""
    found = next_frame(data, 0)
    assert found is not None
    size, _, frame = found
    if isinstance(frame, Basic.Deliver):
        return size == len(data) and "\ufffd" in f"{frame.consumer_tag}{frame.exchange}{frame.routing_key}"
    assert isinstance(frame, ContentHeader)
    told = frame.class_id, frame.weight, frame.body_size
    return (
        size == len(data) and told == struct.unpack_from(">HHQ", data, 7) and not any(dict(frame.properties).values())
    )


async def all_of(pieces: Sequence[bytes]) -> tuple[list[Any], type[BaseException] | None]:
    reader = asyncio.StreamReader()
    receiver, found = Frames(reader, Straight()), []
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    try:
        async for _, _, frame in receiver:
            found.append(shown(frame))
    except (AMQPConnectionError, InvalidFrameError) as error:
        return found, type(error)
    return found, None


@each("size", [1, 3, 100, 10_000])
async def test_frames_come_in_whatever_pieces(size: int) -> None:
    data = written(*ALL.values())
    found, error = await all_of([data[at : at + size] for at in range(0, len(data), size)])
    assert (found, error) == ([by_the_library(written(one))[2] for one in ALL.values()], None)


async def test_an_end_within_a_frame_is_a_lost_connection() -> None:
    found, error = await all_of([written(*QUICK.values())[:-1]])
    assert (len(found), error) == (len(QUICK) - 1, AMQPConnectionError)


async def test_what_is_no_frame_is_an_error_of_the_library() -> None:
    _, error = await all_of([written(QUICK["body"])[:-1] + b"\0"])
    assert error is InvalidFrameError


def test_the_library_still_calls_its_reader_so() -> None:
    assert callable(getattr(aiormq.Connection, "_Connection__reader", None))
    assert issubclass(Connection, aiormq.Connection)
