"""What a message may be, on every bus: so that what runs on one machine runs on many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messages.base import Event
from messages.wire import Message, encode
from voxloom.errors import InvalidInput, TooLarge

MOST_BODY_BYTES = 16 << 20
"""What RabbitMQ 4 takes."""
LATER_BYTES = 64 << 10
"""So much more than the first may later events about the same run have: who does it, where, how often it was tried."""
LARGEST = MOST_BODY_BYTES - LATER_BYTES
MOST_HEADER_BYTES = 32 << 10
"""AMQP cannot split headers, and what is dead or tried again gets some more."""
MOST_KEY_BYTES = 255
"""AMQP counts them in one byte."""
_FIELD_BYTES = 8
"""A header takes so much beside its name and value."""


def header_bytes(headers: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + len(str(value).encode()) + _FIELD_BYTES for name, value in headers.items())


def check_first(event: Event) -> None:
    """Raises TooLarge, or InvalidInput, for an event after which others about the same might not fit."""
    if (size := len(encode(event).body)) > LARGEST:
        raise TooLarge(
            f"This has {size} bytes as it is told to other services, and {LARGEST} are allowed. "
            "Put large data into a file, and say less here.",
            details={"bytes": size, "largest": LARGEST},
        )


def check_message(message: Message) -> None:
    """Raises TooLarge or InvalidInput for what no bus takes: it would spoil the way for others."""
    if len(message.body) > MOST_BODY_BYTES:
        raise TooLarge(
            f"A message has {len(message.body)} bytes; {MOST_BODY_BYTES} are allowed. "
            "Keep large data in the object store."
        )
    if (size := header_bytes(message.headers)) > MOST_HEADER_BYTES:
        raise TooLarge(f"The headers of a message have {size} bytes; {MOST_HEADER_BYTES} are allowed.")
    if not message.routing_keys:
        raise InvalidInput("A message needs a routing key.")
    for key in message.routing_keys:
        if not 0 < len(key.encode()) <= MOST_KEY_BYTES:
            raise InvalidInput(f"A routing key has 1 to {MOST_KEY_BYTES} bytes; this one has {len(key.encode())}.")
