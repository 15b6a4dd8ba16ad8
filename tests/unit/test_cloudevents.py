"""What we put on the wire is a CloudEvent to a program that knows nothing of us but the specification."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson
from cloudevents.core.bindings.amqp import AMQPMessage, from_amqp_event
from cloudevents.core.v1.event import CloudEvent

from messages.base import Event
from messages.wire import CONTENT_TYPE, PREFIX, decode, encode
from tests.each import each
from tests.goldens import type_of

EVERY_GOLDEN = each("path", sorted((Path(__file__).parents[1] / "golden").glob("*.json")), ids=lambda path: path.stem)


def event_of(path: Path) -> Event:
    golden = orjson.loads(path.read_bytes())
    return decode(golden["headers"], orjson.dumps(golden["data"]))


def as_others_read_it(event: Event) -> CloudEvent:
    message = encode(event)
    read = from_amqp_event(AMQPMessage({"content-type": CONTENT_TYPE}, dict(message.headers), message.body))
    assert isinstance(read, CloudEvent)
    return read


@EVERY_GOLDEN
def test_others_read_the_attributes_that_we_wrote(path: Path) -> None:
    event, read = event_of(path), as_others_read_it(event_of(path))
    assert read.get_attributes() == {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": type_of(path),
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "project": event.project,
        "attempt": event.attempt,
        "traceparent": event.traceparent,
        **({"actor": event.actor} if event.actor is not None else {}),
    }


@EVERY_GOLDEN
def test_others_read_the_data_that_we_wrote(path: Path) -> None:
    assert as_others_read_it(event_of(path)).get_data() == orjson.loads(path.read_bytes())["data"]


@EVERY_GOLDEN
def test_what_others_have_read_makes_the_same_event(path: Path) -> None:
    event = event_of(path)
    read = as_others_read_it(event)
    texts = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in read.get_attributes().items()
        if name != "datacontenttype"
    }
    assert decode({PREFIX + name: value for name, value in texts.items()}, orjson.dumps(read.get_data())) == event


def test_an_attribute_that_is_not_set_does_not_travel() -> None:
    unset = {"traceparent": None, "actor": None}
    event = event_of(next(Path(__file__).parents[1].glob("golden/*.json"))).model_copy(update=unset)
    assert unset.keys().isdisjoint(as_others_read_it(event).get_attributes())
