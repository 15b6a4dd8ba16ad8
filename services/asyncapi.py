"""The AsyncAPI 3.0 document of the events, made from their classes and the table of queues.

It describes the whole system as one application: `send` is what Voxloom says, and others can listen to; `receive` is
which of its queues hears what.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from messages.base import ENVELOPE, Event, Kind, worker_inbox
from messages.outside import ASKED, ExecutionAsked
from messages.wire import CONTENT_TYPE, EVENTS, PREFIX
from services.docstrings import field_docs
from shared.bus.base import Queue
from shared.bus.outside import INBOX, REQUESTS
from shared.bus.topology import ALL, matches
from voxloom import __version__

_BINDING = "0.3.0"
_INBOX = "inbox.worker"
_REF = "#/components/schemas/{model}"
_MODE: JsonSchemaMode = "validation"
"""What a reader may count on: fields that came later can be missing in messages of an older program."""
_PROJECT = "^[a-z0-9-]{1,40}$"
_SUBJECTS = {
    "gateway": "one life of a gateway",
    "record": "an id of its own",
    "scheduler": "one life of a scheduler",
    "service": "one life of a service",
    "worker": "the incarnation of a worker",
}
"""What events are about that are not about a thing with an id."""
_DESCRIPTION = """\
What the services of Voxloom say to one another, for others to listen to: CloudEvents 1.0 in binary mode over AMQP
0-9-1, attributes as `cloudEvents:*` headers, data as a JSON body. What lasts goes through the topic exchange `events`;
what is only news (progress, log lines, heartbeats) through `live`. Bind a queue of your own to either with a pattern: a
kind (`execution.#`), a project (`*.*.lab1.#`), one run (`*.*.*.<id>`). Pass over fields that you do not know.
"""


def asyncapi(
    indent: Annotated[int, typer.Option(min=0, max=8, help="Spaces a level; 0 for all in one line.")] = 2,
) -> None:
    """Print the AsyncAPI document of the events."""
    import json

    typer.echo(json.dumps(document(), indent=indent or None, ensure_ascii=False))


def document(events: Mapping[str, Kind] = EVENTS, queues: Sequence[Queue] = ALL) -> dict[str, Any]:
    kinds = {kind.name: kind for kind in events.values() if not _is_private(kind.event)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Voxloom events",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"broker": _server()},
        "channels": {
            **{name: _channel(kind, events) for name, kind in kinds.items()},
            **{inbox: _shared_inbox(inbox, events) for inbox in _inboxes(events)},
            _INBOX: _inbox(events),
            REQUESTS: _requests(),
        },
        "operations": {
            **_said(kinds.values()),
            **_heard([*kinds, *_inboxes(events)], queues),
            **_of_workers(events),
            f"receive.{REQUESTS}": _receives(INBOX, REQUESTS),
        },
        "components": {
            "messages": {**{name: _message(name, kind) for name, kind in events.items()}, ASKED: _asked()},
            "schemas": _schemas({*(kind.event for kind in events.values()), ExecutionAsked}),
        },
    }


def _server() -> dict[str, Any]:
    where = {"default": "localhost:5672", "description": "The broker of a system whose services are apart."}
    return {"host": "{address}", "protocol": "amqp", "protocolVersion": "0-9-1", "variables": {"address": where}}


# --- channels ---------------------------------------------------------------------------------------------


def _channel(kind: Kind, events: Mapping[str, Kind]) -> dict[str, Any]:
    return {
        "address": f"{kind.name}.{{project}}.{{id}}",
        "description": f"Bind with `{kind.name}.#` to hear of all, with `{kind.name}.*.<id>` to hear of one.",
        "messages": {name: _ref("messages", name) for name, one in events.items() if one.name == kind.name},
        "parameters": {
            "project": _parameter("project", "The project that it belongs to."),
            "id": _parameter("subject", f"What it is about: {_subject_of(kind)}."),
        },
        "bindings": _exchange("live" if kind.event.transient else "events"),
    }


def _subject_of(kind: Kind) -> str:
    article = "an" if kind.entity[0] in "aeiou" else "a"
    return _SUBJECTS.get(kind.entity, f"the id of {article} {kind.entity}")


def _inbox(events: Mapping[str, Kind]) -> dict[str, Any]:
    where = {"description": "The incarnation of a worker."}
    return {
        "address": worker_inbox("{incarnation}"),
        "description": "What one worker alone is told, and copies, under a second routing key, of what concerns it.",
        "messages": {name: _ref("messages", name) for name, kind in events.items() if _comes_to_workers(kind.event)},
        "parameters": {"incarnation": where},
        "bindings": _exchange("events"),
    }


def _inboxes(events: Mapping[str, Kind]) -> list[str]:
    """Of ours, those that are not one worker's."""
    return sorted({inbox for kind in events.values() for inbox in kind.event.inboxes})


def _shared_inbox(inbox: str, events: Mapping[str, Kind]) -> dict[str, Any]:
    return {
        "address": inbox,
        "description": "Copies, under a second routing key, for one of our queues.",
        "messages": {name: _ref("messages", name) for name, kind in events.items() if inbox in kind.event.inboxes},
        "bindings": _exchange("events"),
    }


def _requests() -> dict[str, Any]:
    return {
        "address": "execution.requested.{project}.{id}",
        "description": "What others ask for, in the vhost for them (the setting `outside`). `user_id` says who asks.",
        "messages": {ASKED: _ref("messages", ASKED)},
        "parameters": {
            "project": {"description": "The project that the run is to belong to."},
            "id": {"description": "The id of the run: a UUID of version 1."},
        },
        "bindings": _exchange(REQUESTS),
    }


def _asked() -> dict[str, Any]:
    told = _told_of(ExecutionAsked)
    return {
        "name": ASKED,
        "title": ExecutionAsked.__name__,
        "contentType": CONTENT_TYPE,
        "payload": _ref("schemas", ExecutionAsked.__name__),
        "summary": told,
        "description": told,
    }


def _is_copied(cls: type[Event]) -> bool:
    return cls.copy_to is not Event.copy_to


def _is_private(cls: type[Event]) -> bool:
    """Whether it has no other key than that of an inbox."""
    return cls.routing_key is not Event.routing_key and not _is_copied(cls)


def _comes_to_workers(cls: type[Event]) -> bool:
    return _is_copied(cls) or _is_private(cls)


def _parameter(attribute: str, description: str) -> dict[str, Any]:
    return {"description": description, "location": f"$message.header#/{PREFIX}{attribute}"}


def _exchange(name: str) -> dict[str, Any]:
    exchange = {"name": name, "type": "topic", "durable": True, "autoDelete": False}
    return {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": _BINDING}}


# --- operations -------------------------------------------------------------------------------------------


def _said(kinds: Iterable[Kind]) -> dict[str, Any]:
    return {
        f"send.{kind.name}": {
            "action": "send",
            "channel": _ref_channel(kind.name),
            "summary": "News for whoever listens." if kind.event.transient else "Kept, and in the stream for a day.",
            "bindings": {"amqp": _delivery(kind.event)},
        }
        for kind in kinds
    }


def _delivery(cls: type[Event]) -> dict[str, Any]:
    binding: dict[str, Any] = {"deliveryMode": 1 if cls.transient else 2, "bindingVersion": _BINDING}
    return {**binding, "cc": [worker_inbox("{incarnation}")]} if _is_copied(cls) else binding


def _heard(kinds: Iterable[str], queues: Sequence[Queue]) -> dict[str, Any]:
    return {
        f"receive.{queue.name}.{kind}": _receives(queue.name, kind)
        for queue in queues
        for kind in kinds
        if kind in queue.bindings or any(matches(pattern, f"{kind}.project.id") for pattern in queue.bindings)
    }


def _of_workers(events: Mapping[str, Kind]) -> dict[str, Any]:
    classes = [kind.event for kind in events.values()]
    said = {
        "action": "send",
        "channel": _ref_channel(_INBOX),
        "summary": "For one worker alone.",
        "bindings": {"amqp": {"deliveryMode": 2, "bindingVersion": _BINDING}},
    }
    heard = _receives("worker.<incarnation>", _INBOX)
    return {
        **({f"send.{_INBOX}": said} if any(map(_is_private, classes)) else {}),
        **({f"receive.{_INBOX}": heard} if any(map(_comes_to_workers, classes)) else {}),
    }


def _receives(queue: str, channel: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": _ref_channel(channel),
        "summary": f"Heard by the queue `{queue}`.",
        "bindings": {"amqp": {"ack": True, "bindingVersion": _BINDING}},
    }


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _ref_channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{name}"}


# --- messages ---------------------------------------------------------------------------------------------


def _message(name: str, kind: Kind) -> dict[str, Any]:
    cls = kind.event
    message = {
        "name": name,
        "title": cls.__name__,
        "contentType": CONTENT_TYPE,
        "headers": _headers(name, kind),
        "payload": _ref("schemas", cls.__name__),
    }
    told = _told_of(cls)
    return {**message, "summary": told.partition(". ")[0].rstrip(".") + ".", "description": told} if told else message


_OPTIONAL = frozenset({"traceparent", "actor"})


def _told_of(cls: type[BaseModel]) -> str:
    """Its docstring, or that of the nearest class above it that has one."""
    for one in cls.__mro__:
        if one in (Event, BaseModel):
            break
        if one.__doc__:
            return " ".join(inspect.cleandoc(one.__doc__).split())
    return ""


def _headers(name: str, kind: Kind) -> dict[str, Any]:
    attributes: dict[str, dict[str, Any]] = {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string", "description": "Of this event; it comes again with the same one."},
        "source": {"type": "string"},
        "type": {"type": "string", "const": name},
        "subject": {"type": "string", "description": f"What it is about: {_subject_of(kind)}."},
        "time": {"type": "string", "format": "date-time"},
        "project": {"type": "string", "pattern": _PROJECT},
        "attempt": {"type": "integer", "minimum": 0, "description": "Which try of a run; 0 where there is none."},
        "traceparent": {"type": "string", "description": "W3C trace context, where there is one."},
        "actor": {"type": "string", "description": "The principal whose request has caused it, where one is known."},
    }
    return {
        "type": "object",
        "properties": {f"{PREFIX}{attribute}": schema for attribute, schema in attributes.items()},
        "required": [f"{PREFIX}{attribute}" for attribute in attributes if attribute not in _OPTIONAL],
    }


def _schemas(classes: Collection[type[BaseModel]]) -> dict[str, Any]:
    """Of the data of these events, and of all that is in it."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(cls, _MODE) for cls in classes]
    _, found = models_json_schema(models, ref_template=_REF)
    schemas = dict(found["$defs"])
    for name in {cls.__name__ for cls in classes}:
        schemas[name] = _without_envelope(schemas[name])
    for (name, field), told in field_docs(classes).items():
        if field in (fields := schemas.get(name, {}).get("properties", {})):
            fields[field] = {**fields[field], "description": told}
    return schemas


def _without_envelope(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without what travels in the headers."""
    fields = {field: one for field, one in schema["properties"].items() if field not in ENVELOPE}
    required = [field for field in schema["required"] if field not in ENVELOPE]
    return {**schema, "properties": fields, "required": required}
