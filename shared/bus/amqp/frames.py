"""Messages as they come in, for a third of what aiormq and pamqp take: they read a frame in four steps and copy what is
left of it at each value. Who follows the stream spent more than a quarter of its time with that.

What the frames of a delivery are made of is read here; all else, and what is odd, is left to the library. Messages and
confirms do not go through its queues (`straight`). The one part of it that it does not promise is the name of a method:
a start says so where a version calls it otherwise.
"""

from __future__ import annotations

import struct
from typing import Any

import aiormq
import pamqp.frame
from aiormq.abc import AbstractChannel
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError
from pamqp import decode
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from shared.bus.amqp.straight import Straight

READER = "_Connection__reader"
"""The method of a connection whose frames are read here."""
CHUNK = 1 << 18

Received = tuple[int, int, Any]
"""Bytes, channel, frame."""

_STILL_THERE: Received = (0, 0, Heartbeat())
"""So that the library, which has seen nothing of what went straight, does not take the connection for dead."""

_HEAD = struct.Struct(">BHI")
_INDEX = struct.Struct(">I")
_TAG = struct.Struct(">qB")
_CONTENT = struct.Struct(">HHQH")
_BYTE, _LONG = struct.Struct(">b"), struct.Struct(">q")
_LONG_TEXT, _BITS_8, _BITS_64 = b"Sbl"
"""Types of values in tables."""

_CONTENT_TYPE, _HEADERS, _MODE, _MESSAGE_ID, _TYPE = (
    Basic.Properties.flags[name] for name in ("content_type", "headers", "delivery_mode", "message_id", "message_type")
)
_OURS = _CONTENT_TYPE | _HEADERS | _MODE | _MESSAGE_ID | _TYPE
"""Properties that messages of ours have."""


class Connection(aiormq.Connection):
    """One of aiormq that reads so."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.straight = Straight()

    async def _Connection__reader(self, frame_receiver: FrameReceiver) -> None:  # noqa: N802 - the library's name
        inherited: Any = super()
        await inherited._Connection__reader(Frames(frame_receiver.reader, self.straight))


def straight_of(channel: AbstractChannel) -> Straight:
    connection = channel.connection
    assert isinstance(connection, Connection)
    return connection.straight


class Frames(FrameReceiver):
    """The frames of a connection that is open, out of whatever pieces they come in, but for those that go straight."""

    def __init__(self, reader: Any, straight: Straight) -> None:
        super().__init__(reader)
        self._straight = straight
        self._data = b""
        self._at = 0
        self._alive = False
        """Whether the library has not been told of all that has come."""

    async def get_frame(self) -> Received:
        try:
            while (found := self._next()) is None:
                await self._read()
        except PAMQPException as error:
            raise InvalidFrameError(str(error)) from error
        return found

    def _next(self) -> Received | None:
        """For the library; None where more has to come first."""
        while (found := next_frame(self._data, self._at)) is not None:
            self._at += found[0]
            if not self._straight.takes(*found[1:]):
                return found
            self._alive = True
        if self._alive:
            self._alive = False
            return _STILL_THERE
        return None

    async def _read(self) -> None:
        if self.reader.at_eof() and self._at == len(self._data):
            raise StopAsyncIteration
        try:
            more = await self.reader.read(CHUNK)
        except OSError as error:
            raise AMQPConnectionError(f"Server communication error: {error!r}") from error
        if not more:
            raise AMQPConnectionError("Server connection unexpectedly closed")
        self._data = self._data[self._at :] + more
        self._at = 0


def next_frame(data: bytes, at: int) -> Received | None:
    """The frame that begins there; None where its end has not come. Raises PAMQPException."""
    if len(data) - at < _HEAD.size + 1:
        return None
    kind, channel, size = _HEAD.unpack_from(data, at)
    begin, end = at + _HEAD.size, at + _HEAD.size + size
    if len(data) <= end:
        return None
    frame = _quick(kind, data, begin, end) if data[end] == FRAME_END else None
    if frame is None:
        frame = _slow(kind, data[at : end + 1])
    return end + 1 - at, channel, frame


def _slow(kind: int, data: bytes) -> Any:
    """As the library reads it. What it cannot read of a message (a time after the year 9999, a key that is no text)
    must not end the connection: the message would come again, and end the next one."""
    try:
        return pamqp.frame.unmarshal(data)[2]
    except Exception:  # whatever it fails with
        frame = _unreadable(kind, data) if data[-1] == FRAME_END else None
        if frame is None:
            raise
        return frame


def _unreadable(kind: int, data: bytes) -> Any:
    """What is left of a delivery: its place without what is no text, its size without its properties."""
    at, end = _HEAD.size, len(data) - 1
    try:
        if kind == FRAME_HEADER:
            class_id, weight, size, _ = _CONTENT.unpack_from(data, at)
            header = ContentHeader(weight, size, Basic.Properties())
            header.class_id = class_id
            return header
        if kind == FRAME_METHOD and _INDEX.unpack_from(data, at)[0] == Basic.Deliver.index:
            return _deliver(data, at + _INDEX.size, end, errors="replace")
    except (ValueError, struct.error, IndexError):
        return None
    return None


def _quick(kind: int, data: bytes, at: int, end: int) -> Any:
    """A frame of a delivery; None for all else, also for what is odd."""
    try:
        if kind == FRAME_BODY and at < end:
            return ContentBody(data[at:end])
        if kind == FRAME_HEADER:
            return _header(data, at, end)
        if kind == FRAME_METHOD and _INDEX.unpack_from(data, at)[0] == Basic.Deliver.index:
            return _deliver(data, at + _INDEX.size, end)
    except (ValueError, struct.error, IndexError):
        return None
    return None


def _deliver(data: bytes, at: int, end: int, errors: str = "strict") -> Basic.Deliver | None:
    consumer, at = _text(data, at)
    tag, bits = _TAG.unpack_from(data, at)
    exchange, at = _text(data, at + _TAG.size)
    key, at = _text(data, at, errors)
    if at != end or bits > 1:
        return None
    frame = Basic.Deliver.__new__(Basic.Deliver)  # The library, too, takes what a broker says as it is.
    frame.consumer_tag, frame.delivery_tag, frame.redelivered = consumer, tag, bool(bits)
    frame.exchange, frame.routing_key = exchange, key
    return frame


def _header(data: bytes, at: int, end: int) -> ContentHeader | None:
    class_id, weight, size, flags = _CONTENT.unpack_from(data, at)
    if flags & ~_OURS:
        return None
    at += _CONTENT.size
    properties = Basic.Properties()
    if flags & _CONTENT_TYPE:
        properties.content_type, at = _text(data, at)
    if flags & _HEADERS:
        properties.headers, at = _table(data, at, end)
    if flags & _MODE:
        properties.delivery_mode, at = data[at], at + 1
    if flags & _MESSAGE_ID:
        properties.message_id, at = _text(data, at)
    if flags & _TYPE:
        properties.message_type, at = _text(data, at)
    if at != end:
        return None
    header = ContentHeader(weight, size, properties)
    header.class_id = class_id
    return header


def _text(data: bytes, at: int, errors: str = "strict") -> tuple[str, int]:
    """What has its length in a byte before it, and where that ends."""
    begin = at + 1
    end = begin + data[at]
    return data[begin:end].decode(errors=errors), end


def _table(data: bytes, at: int, limit: int) -> tuple[dict[str, Any], int]:
    """Names and values, and where they end. Whatever leads beyond the end is noticed there."""
    end = at + _INDEX.size + _INDEX.unpack_from(data, at)[0]
    at += _INDEX.size
    table: dict[str, Any] = {}
    while at < end:
        begin = at + 1
        at = begin + data[at]
        name = data[begin:at].decode()
        if at >= end:
            raise ValueError("a name has no value")
        if data[at] == _LONG_TEXT:
            begin = at + 5
            at = begin + _INDEX.unpack_from(data, at + 1)[0]
            table[name] = data[begin:at].decode()
        else:
            table[name], at = _value(data, at, limit)
    if at != end:
        raise ValueError("a table ends within a name or a value")
    return table, end


def _value(data: bytes, at: int, limit: int) -> tuple[Any, int]:
    """Of a type that is rarer than text, and where it ends."""
    kind, begin = data[at], at + 1
    if kind == _BITS_64:
        return _LONG.unpack_from(data, begin)[0], begin + _LONG.size
    if kind == _BITS_8:
        return _BYTE.unpack_from(data, begin)[0], begin + _BYTE.size
    used, value = decode.embedded_value(data[at:limit])
    return value, at + used
