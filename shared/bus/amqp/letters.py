"""A message on its way out, and its frames: for a quarter of what pamqp takes, which looks at each field by its name.

What messages of ours are made of is written here; what is odd is left to the library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import pamqp.frame
from pamqp import encode
from pamqp.commands import Basic
from pamqp.constants import FRAME_BODY, FRAME_END_CHAR, FRAME_HEADER, FRAME_METHOD
from pamqp.header import ContentHeader

LONGEST_NAME = 128
"""Bytes that a header's name may have."""

_HEAD = struct.Struct(">BHI")
_PUBLISH = struct.Struct(">IH")
_CONTENT = struct.Struct(">HHQH")
_SIZE = struct.Struct(">I")
_WRITTEN = ("content_type", "headers", "delivery_mode", "message_id", "message_type")
_FLAGS = {name: Basic.Properties.flags[name] for name in _WRITTEN}
_OTHERS = tuple(name for name in Basic.Properties.flags if name not in _WRITTEN)
"""Properties that messages of ours do not have."""


class Letter(NamedTuple):
    exchange: str
    routing_key: str
    properties: Basic.Properties
    body: bytes


def frames_of(letter: Letter, channel: int, most: int) -> Iterator[bytes]:
    """`most`: bytes of a body in one frame. Raises TypeError, ValueError for headers that AMQP has no type for."""
    yield _frame(FRAME_METHOD, channel, _publish(letter))
    yield _header(letter, channel)
    for at in range(0, len(letter.body), most):
        yield _frame(FRAME_BODY, channel, letter.body[at : at + most])


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b%b" % (_HEAD.pack(kind, channel, len(payload)), payload, FRAME_END_CHAR)


def _publish(letter: Letter) -> bytes:
    texts = _short(letter.exchange.encode()) + _short(letter.routing_key.encode())
    return b"%b%b\0" % (_PUBLISH.pack(Basic.Publish.index, 0), texts)


def _header(letter: Letter, channel: int) -> bytes:
    told = letter.properties
    headers = told.headers or {}
    if any(getattr(told, name) for name in _OTHERS) or any(len(name) * 4 > LONGEST_NAME for name in headers):
        return pamqp.frame.marshal(ContentHeader(body_size=len(letter.body), properties=told), channel)
    flags, values = 0, []
    for name, value in (
        ("content_type", told.content_type and _short(told.content_type.encode())),
        ("headers", told.headers is not None and _table(headers)),
        ("delivery_mode", told.delivery_mode and bytes([told.delivery_mode])),
        ("message_id", told.message_id and _short(told.message_id.encode())),
        ("message_type", told.message_type and _short(told.message_type.encode())),
    ):
        if value:
            flags |= _FLAGS[name]
            values.append(value)
    content = _CONTENT.pack(Basic.frame_id, 0, len(letter.body), flags)
    return _frame(FRAME_HEADER, channel, content + b"".join(values))


def _short(text: bytes) -> bytes:
    """With its length in one byte. Raises ValueError."""
    return bytes((len(text),)) + text


_name = lru_cache(maxsize=512)(lambda name: _short(name.encode()))


def _table(headers: Mapping[str, Any]) -> bytes:
    written = b"".join([_name(name) + _value(value) for name, value in headers.items()])
    return _SIZE.pack(len(written)) + written


def _value(value: Any) -> bytes:
    if type(value) is not str:
        return encode.encode_table_value(value)
    text = value.encode()
    return b"S%b%b" % (_SIZE.pack(len(text)), text)
