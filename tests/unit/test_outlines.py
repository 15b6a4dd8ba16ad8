"""Events of which somebody wants no more than the headers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from messages.base import Kind, Outline
from messages.runs import Result, RunFinished
from messages.wire import PREFIX, Message, UndecodableMessage, UnknownVersion, decode, decode_wanted, encode
from services.gateway.service import Gateway, is_shown
from shared.bus.base import QueueStats
from shared.bus.topology import SCHEDULER
from shared.service import Platform
from shared.settings import Settings
from tests.each import each
from tests.named import A
from tests.unit.memory_platform import MemoryStore, NotingBus
from tests.unit.test_wire import EVERY_GOLDEN, load

ENVELOPE = {"id", "source", "subject", "time", "project", "attempt", "traceparent"}


def nothing(_kind: Kind, _subject: str) -> bool:
    return False


def report(**headers: Any) -> Message:
    event = RunFinished(subject=A, attempt=1, incarnation="w", outcome="completed", result=Result())
    message = encode(event)
    return message._replace(
        headers={**message.headers, **{f"{PREFIX}{name}": value for name, value in headers.items()}}
    )


@EVERY_GOLDEN
def test_an_outline_says_what_the_whole_event_says_in_its_headers(path: Path) -> None:
    message = load(path)
    whole = decode(message.headers, message.body, message.routing_keys)
    found = decode_wanted(message.headers, message.body, message.routing_keys, nothing)
    assert (found.kind, found.model_dump(include=ENVELOPE)) == (whole.kind, whole.model_dump(include=ENVELOPE))


def test_what_is_wanted_comes_whole() -> None:
    message = report()
    found = decode_wanted(message.headers, message.body, message.routing_keys, lambda _kind, subject: subject == A)
    assert isinstance(found, RunFinished)


def test_the_body_of_what_nobody_wants_is_not_looked_at() -> None:
    message = report()
    assert isinstance(decode_wanted(message.headers, b"{no JSON", message.routing_keys, nothing), Outline)


@each(
    "odd",
    [{"subject": "no-uuid"}, {"time": "yesterday"}, {"project": "a/b"}, {"attempt": -1}, {"id": "*"}],
    ids=lambda odd: next(iter(odd)),
)
def test_headers_that_are_odd_are_refused(odd: Mapping[str, Any]) -> None:
    message = report(**odd)
    with pytest.raises(UndecodableMessage):
        decode_wanted(message.headers, message.body, (), nothing)


def test_an_event_under_the_key_of_another_is_refused() -> None:
    message = report()
    with pytest.raises(UndecodableMessage, match="it came under"):
        decode_wanted(message.headers, message.body, ("execution.finished.default.another",), nothing)


def test_a_version_that_is_too_new_is_told_apart() -> None:
    message = report(type="voxloom.execution.finished.v9")
    with pytest.raises(UnknownVersion):
        decode_wanted(message.headers, message.body, message.routing_keys, nothing)


async def test_a_gateway_counts_what_workers_report_and_needs_no_more_of_it(caplog: pytest.LogCaptureFixture) -> None:
    # Given a gateway that has heard how a worker's report begins
    gateway = Gateway(Platform(NotingBus(), MemoryStore(), Settings()))
    message = report()
    heard = decode_wanted(message.headers, message.body, message.routing_keys, is_shown)
    # When the scheduler's queue is looked at before and after
    gateway._queues.sample([QueueStats(SCHEDULER.name, waiting=0, consumers=1)])
    with caplog.at_level(logging.WARNING):
        await gateway.take([(7, heard)])
    gateway._queues.sample([QueueStats(SCHEDULER.name, waiting=1, consumers=1)])
    # Then one has come there, and the gateway has got so far in the stream
    assert (type(heard), gateway._view.newest, caplog.messages) == (Outline, 7, [])
    (figures,) = gateway._queues.report()
    assert figures.in_per_second is not None
    assert figures.in_per_second > 0
