"""Many events in one object: of each its headers as a line of JSON, then its body as another."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import orjson

from messages.base import Event
from messages.wire import UndecodableMessage, UnknownVersion, decode, encode

_log = logging.getLogger("voxloom.records")


def pack(events: Sequence[Event]) -> bytes:
    messages = (encode(event) for event in events)
    return b"\n".join(orjson.dumps(message.headers) + b"\n" + message.body for message in messages)


def unpack(data: bytes) -> list[Event]:
    """Raises UndecodableMessage."""
    return [decode(orjson.loads(headers), body) for headers, body in _lines(data)]


def unpack_known(key: str, data: bytes) -> list[Event]:
    """The same, without what no handler would get today: earlier versions took in events that they should not have.
    Raises UnknownVersion: what a newer program has recorded must not get lost."""
    events: list[Event] = []
    for headers, body in _lines(data):
        try:
            events.append(decode(orjson.loads(headers), body))
        except UnknownVersion:
            raise
        except UndecodableMessage as error:
            _log.warning("an odd event in %s is passed over: %s", key, error)
    return events


def _lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    lines = data.split(b"\n") if data else []
    return zip(lines[::2], lines[1::2], strict=True)
