"""Dead letters as REST shows them: whatever is in them, it can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messages.wire import PREFIX
from services.gateway.http.payloads import parse_json
from shared.bus.base import DeadLetter
from voxloom.errors import InvalidInput
from voxloom.models import DeadLetterRecord, DeadLetterSummary, format_time

MOST_JSON_BYTES = 1 << 20
MOST_CHARACTERS = 10_000


def summary_of(letter: DeadLetter) -> DeadLetterSummary:
    return DeadLetterSummary(**_facts(letter))


def record_of(letter: DeadLetter) -> DeadLetterRecord:
    body = letter.message.body
    facts = {**_facts(letter), "headers": _plain(letter.message.headers)}
    try:
        if len(body) <= MOST_JSON_BYTES:
            return DeadLetterRecord(**facts, data=parse_json(body))
    except InvalidInput:
        pass  # It may be for this very reason that nobody could handle it.
    return DeadLetterRecord(**facts, text=body[: 4 * MOST_CHARACTERS].decode(errors="replace")[:MOST_CHARACTERS])


def _facts(letter: DeadLetter) -> dict[str, Any]:
    headers = letter.message.headers
    return {
        "dead_letter_id": letter.id,
        "queue": letter.queue,
        "reason": letter.reason,
        "time": format_time(letter.time),
        "parked": letter.parked,
        "type": str(headers.get(f"{PREFIX}type", "")),
        "subject": str(headers.get(f"{PREFIX}subject", "")),
        "routing_keys": list(letter.message.routing_keys),
        "body_bytes": len(letter.message.body),
    }


def _plain(value: Any) -> Any:
    """As JSON can have it: headers may hold bytes and times, and lists of tables."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes() | bytearray():
            return bytes(value).decode(errors="replace")
        case Mapping():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case _:
            return str(value)
