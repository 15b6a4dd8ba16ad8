"""A message of ours as a message of AMQP, and back.

Beside the attributes of the event (CloudEvents, AMQP binding) a message may have headers of the adapter's own: where it
came from, how often it was tried, why it is dead. They are no part of the event.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp import encode as encode_value
from pamqp.commands import Basic

from messages.wire import CONTENT_TYPE, PREFIX, Message
from shared.bus.base import DeadLetter
from shared.bus.limits import MOST_HEADER_BYTES
from voxloom.ids import new_id
from voxloom.models import format_time

_OWN = "voxloom-"
TRIES = f"{_OWN}tries"
KEYS = f"{_OWN}keys"
QUEUE = f"{_OWN}queue"
REASON = f"{_OWN}reason"
TIME = f"{_OWN}time"
LETTER = f"{_OWN}letter"
OFFSET = "x-stream-offset"
_CC = "CC"
_DIRECT = ""
"""The exchange of what we give to one queue. What came over another has headers that only look like our own."""

LONGEST_REASON = 4000
_MOST_KEYS = 10
_MOST_KEPT = 20
_LONGEST_KEPT = 300
"""Characters of a header that stays where all together are too large."""


def properties(message: Message, *, persistent: bool = True) -> Basic.Properties:
    """Of a message that is published under all of its routing keys."""
    headers = dict(message.headers)
    if len(message.routing_keys) > 1:
        headers[_CC] = list(message.routing_keys[1:])
    return _properties(headers, persistent=persistent)


def properties_again(message: Message, **own: Any) -> Basic.Properties:
    """Of a message that goes to one queue by its name. It keeps in mind which keys it once had."""
    told = {f"{_OWN}{name}": value for name, value in own.items()}
    keys = list(message.routing_keys)[:_MOST_KEYS]
    return _properties({**_fitting(message.headers), KEYS: keys, **told}, persistent=True)


def frame_bytes(headers: Mapping[str, Any]) -> int | None:
    """What they take in a frame; None for what no frame can have."""
    try:
        return len(encode_value.field_table(dict(headers)))
    except (TypeError, ValueError, struct.error):
        return None


def _fitting(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message of somebody else has to get out of its queue, whatever headers it has: what would not fit is left out.
    The longest attributes of an event of ours are shorter."""
    size = frame_bytes(headers)
    if size is not None and size <= MOST_HEADER_BYTES:
        return headers
    kept = {name: value for name, value in headers.items() if isinstance(value, str | int) and name.startswith(PREFIX)}
    return {name: value for name, value in list(kept.items())[:_MOST_KEPT] if len(f"{name}{value}") <= _LONGEST_KEPT}


def properties_dead(message: Message, queue: str, reason: str, now: datetime) -> Basic.Properties:
    return properties_again(
        message, queue=queue, reason=reason[:LONGEST_REASON], time=format_time(now), letter=new_id()
    )


def _properties(headers: dict[str, Any], *, persistent: bool) -> Basic.Properties:
    # aiormq looks for a message by its id when the broker confirms it: two under way must never share one.
    return Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=2 if persistent else 1,
        headers=headers,
        message_id=new_id(),
        message_type=_text(headers.get(f"{PREFIX}type")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value.encode()) < 256 else None


def headers_of(delivered: DeliveredMessage) -> Mapping[str, Any]:
    return delivered.header.properties.headers or {}


def message_of(delivered: DeliveredMessage) -> Message:
    """As it was published."""
    ours = {name: value for name, value in headers_of(delivered).items() if not _is_of_the_way(name)}
    return Message(keys_of(delivered), ours, delivered.body)


def keys_of(delivered: DeliveredMessage) -> tuple[str, ...]:
    """Under which it was published."""
    headers = headers_of(delivered)
    keys = _listed(headers.get(KEYS)) if delivered.exchange == _DIRECT else []
    keys = keys or [delivered.routing_key or "", *_listed(headers.get(_CC))]
    return tuple(str(key) for key in keys)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_of_the_way(name: str) -> bool:
    return name == _CC or name.startswith((_OWN, "x-"))


def tries_of(delivered: DeliveredMessage) -> int:
    tries = headers_of(delivered).get(TRIES)
    return max(0, tries) if isinstance(tries, int) and delivered.exchange == _DIRECT else 0


def stream_offset(delivered: DeliveredMessage) -> int:
    """As the broker counts, from 0."""
    offset = headers_of(delivered).get(OFFSET)
    return offset if isinstance(offset, int) else -1


def letter_id(delivered: DeliveredMessage) -> str:
    return str(headers_of(delivered).get(LETTER, ""))


def home_of(delivered: DeliveredMessage) -> str:
    """The queue that a dead letter comes from."""
    return str(headers_of(delivered).get(QUEUE, ""))


def dead_letter(delivered: DeliveredMessage, *, parked: bool) -> DeadLetter:
    headers = headers_of(delivered)
    return DeadLetter(
        id=letter_id(delivered),
        queue=home_of(delivered),
        reason=str(headers.get(REASON, "")),
        time=_time(headers.get(TIME)),
        message=message_of(delivered),
        parked=parked,
    )


def _time(value: Any) -> datetime:
    never = datetime.fromtimestamp(0, UTC)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return never
    return moment if moment.tzinfo is not None else never
