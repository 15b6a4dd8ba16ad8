"""An event and its bytes: CloudEvents 1.0, binary mode, AMQP binding (attributes as headers, JSON data as body)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from messages import (
    benchmarks,
    checkpoints,
    deploys,
    executions,
    files,
    gateways,
    samples,
    scheduler,
    services,
    trainings,
    workers,
)
from messages.base import ENVELOPE, Event
from voxloom.models import format_time

PREFIX = "cloudEvents:"
CONTENT_TYPE = "application/json"
_ENVELOPE = set(ENVELOPE)


class Message(NamedTuple):
    """An event as it travels: where to, its attributes, its data."""

    routing_keys: tuple[str, ...]
    headers: Mapping[str, Any]
    body: bytes


class UndecodableMessage(Exception):
    """The message is no event of ours; it will never be one, however often it is tried."""


class UnknownVersion(UndecodableMessage):
    """An event of ours in a version newer than this program knows."""


def _classes(*modules: Any) -> Iterable[type[Event]]:
    for module in modules:
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, Event) and hasattr(thing, "verb"):
                yield thing


EVENTS: Mapping[str, type[Event]] = {
    cls.type_name(): cls
    for cls in _classes(
        files,
        samples,
        deploys,
        executions,
        trainings,
        benchmarks,
        checkpoints,
        workers,
        scheduler,
        services,
        gateways,
    )
}
"""Every event class by its CloudEvents type."""

_KINDS = {cls.kind() for cls in EVENTS.values()}


def encode(event: Event) -> Message:
    """The message that carries `event`."""
    headers: dict[str, Any] = {
        f"{PREFIX}specversion": "1.0",
        f"{PREFIX}id": event.id,
        f"{PREFIX}source": event.source,
        f"{PREFIX}type": event.type_name(),
        f"{PREFIX}subject": event.subject,
        f"{PREFIX}time": format_time(event.time),
        f"{PREFIX}project": event.project,
        f"{PREFIX}attempt": event.attempt,
    }
    if event.traceparent is not None:
        headers[f"{PREFIX}traceparent"] = event.traceparent
    body = event.__pydantic_serializer__.to_json(event, exclude=_ENVELOPE)
    return Message((event.routing_key, *event.copy_to), headers, body)


def decode(headers: Mapping[str, Any], body: bytes) -> Event:
    """The event in a message.

    Raises:
        UnknownVersion: an event of ours, in a version that this program is too old for.
        UndecodableMessage: anything else that is no event of ours.
    """
    kind = str(headers.get(f"{PREFIX}type", ""))
    cls = EVENTS.get(kind)
    if cls is None:
        raise _unknown(kind)
    try:
        data = orjson.loads(body)
        if not isinstance(data, dict):
            raise UndecodableMessage(f"{kind}: the data is no JSON object")
        envelope = {name: headers[PREFIX + name] for name in ENVELOPE if PREFIX + name in headers}
        return cls.model_validate({**data, **envelope})
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise UndecodableMessage(f"{kind}: {error}") from error


def _unknown(kind: str) -> UndecodableMessage:
    name, _, version = kind.removeprefix("voxloom.").rpartition(".")
    if name in _KINDS and version.startswith("v") and version[1:].isdigit():
        return UnknownVersion(f"{kind} is newer than this program; upgrade it, then replay the message")
    return UndecodableMessage(f"no event of ours has the type {kind!r}")
