"""An event and its bytes: CloudEvents 1.0, binary mode, AMQP binding (attributes as headers, JSON data as body)."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

import messages
from messages.base import ENVELOPE, Event, Kind, Outline, WantsData
from messages.runs import RunEvent
from voxloom.errors import InvalidInput
from voxloom.ids import is_id
from voxloom.jsontext import is_deeper
from voxloom.models import format_time

PREFIX = "cloudEvents:"
CONTENT_TYPE = "application/json"
DEEPEST = 200
"""Levels of lists and objects in an event: of many more, what is read cannot be written again."""
_CODECS = {"wire", "packing"}
_ENVELOPE = set(ENVELOPE)
_TYPE, _SUBJECT = f"{PREFIX}type", f"{PREFIX}subject"
_ATTRIBUTES = tuple((name, PREFIX + name) for name in ENVELOPE)
_ERRORS_TOLD = 5
_MOST_TOLD = 1000


class Message(NamedTuple):
    """An event as it travels: where to, its attributes, its data."""

    routing_keys: tuple[str, ...]
    headers: Mapping[str, Any]
    body: bytes


class UndecodableMessage(Exception):
    """The message is no event of ours; it will never be one, however often it is tried."""


class UnknownVersion(UndecodableMessage):
    """An event of ours that this program does not know, or not in that version: it comes from a newer one."""


def _modules() -> Iterator[ModuleType]:
    """Those of this package that say what events there are."""
    for found in pkgutil.iter_modules(messages.__path__):
        if found.name not in _CODECS:
            yield importlib.import_module(f"messages.{found.name}")


def _kinds(modules: Iterable[ModuleType]) -> Iterator[Kind]:
    for module in modules:
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, Event) and hasattr(thing, "verb"):
                yield from thing.kinds()


EVENTS: Mapping[str, Kind] = {kind.type_name: kind for kind in _kinds(_modules())}
"""Every kind of event by its CloudEvents type."""

_OURS = re.compile(r"voxloom\.[a-z]{1,40}\.[a-z-]{1,40}\.v[0-9]{1,4}", re.ASCII)
"""What our types look like, those of programs to come, too."""


def encode(event: Event) -> Message:
    """The message that carries `event`. Raises InvalidInput where its data is nothing that JSON can say."""
    headers: dict[str, Any] = {
        f"{PREFIX}specversion": "1.0",
        f"{PREFIX}id": event.id,
        f"{PREFIX}source": event.source,
        f"{PREFIX}type": event.type_name,
        f"{PREFIX}subject": event.subject,
        f"{PREFIX}time": format_time(event.time),
        f"{PREFIX}project": event.project,
        f"{PREFIX}attempt": event.attempt,
    }
    if event.traceparent is not None:
        headers[f"{PREFIX}traceparent"] = event.traceparent
    if event.actor is not None:
        headers[f"{PREFIX}actor"] = event.actor
    try:
        body = event.__pydantic_serializer__.to_json(event, exclude=_ENVELOPE)
    except ValueError as error:  # nested too deep, or text that is none
        raise InvalidInput(f"{event.type_name} of {event.subject} has what JSON cannot say: {error}") from error
    if is_deeper(body, DEEPEST):
        raise InvalidInput(f"{event.type_name} of {event.subject} is nested more than {DEEPEST} levels deep")
    return Message((event.routing_key, *event.copy_to), headers, body)


def decode(headers: Mapping[str, Any], body: bytes, keys: Collection[str] = ()) -> Event:
    """The event in a message. `keys` are the routing keys under which it came, where they are known: an event that
    comes under a key of another would reach those whom it does not concern.

    Raises:
        UnknownVersion: an event of ours that this program is too old for.
        UndecodableMessage: anything else that is no event of ours.
    """
    name = str(headers.get(_TYPE, ""))
    kind = EVENTS.get(name)
    if kind is None:
        raise _unknown(name)
    told = kind.event.told_by(kind.entity)
    try:
        event = kind.event.model_validate({**_data(name, body), **_envelope(headers), **told})
    except ValidationError as error:
        raise UndecodableMessage(f"{name}: {_told(error)}") from error
    if isinstance(event, RunEvent) and not is_id(event.subject):
        raise UndecodableMessage(f"{name}: the subject {event.subject!r} is no UUID, as the id of a run must be")
    if strange := set(keys).difference((event.routing_key, event.plain_key, *event.copy_to)):
        raise UndecodableMessage(
            f"{name}: it came under {min(strange)[:300]!r}, and says {event.routing_key!r} of itself"
        )
    return event


def decode_wanted(headers: Mapping[str, Any], body: bytes, keys: Collection[str], wanted: WantsData) -> Event:
    """As `decode`, but of an event whose data nobody wants the outline, for a part of the price. Its body is not looked
    at. What is odd in the headers `decode` tells."""
    kind = EVENTS.get(str(headers.get(_TYPE, "")))
    if kind is None or wanted(kind, str(headers.get(_SUBJECT, ""))):
        return decode(headers, body, keys)
    return _outline(kind, headers, keys) or decode(headers, body, keys)


def _outline(kind: Kind, headers: Mapping[str, Any], keys: Collection[str]) -> Outline | None:
    """None where more than the headers is needed to tell whether this is an event."""
    if len(keys) > 1:
        return None
    try:
        outline = Outline.model_validate({**_envelope(headers), "told": kind})
    except ValidationError:
        return None
    if issubclass(kind.event, RunEvent) and not is_id(outline.subject):
        return None
    return None if set(keys).difference((outline.public_key,)) else outline


def _data(name: str, body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UndecodableMessage(f"{name}: {error}") from error
    if not isinstance(data, dict):
        raise UndecodableMessage(f"{name}: the data is no JSON object")
    if is_deeper(body, DEEPEST):
        raise UndecodableMessage(f"{name}: the data is nested more than {DEEPEST} levels deep")
    return data


def _envelope(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: headers[header] for name, header in _ATTRIBUTES if header in headers}


def _told(error: ValidationError) -> str:
    """Without the values: those may be long."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors[:_ERRORS_TOLD])
    return said[:_MOST_TOLD]


def _unknown(told: str) -> UndecodableMessage:
    if _OURS.fullmatch(told):
        return UnknownVersion(f"{told[:200]} is newer than this program; upgrade it, then replay the message")
    return UndecodableMessage(f"no event of ours has the type {told[:200]!r}")
