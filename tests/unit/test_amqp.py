"""What the RabbitMQ adapter decides without a broker."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiormq import exceptions as amqp
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from messages.runs import RunStopPassed
from messages.wire import Message, encode
from shared.bus.amqp.address import parse
from shared.bus.amqp.channel_writer import check_library
from shared.bus.amqp.codec import dead_letter, frame_bytes, message_of, properties, tries_of
from shared.bus.amqp.consumers import onward
from shared.bus.amqp.declarations import delay_arguments, delay_queue, queue_arguments, stream_arguments
from shared.bus.amqp.failures import NotThere, translated
from shared.bus.amqp.letters import Letter
from shared.bus.amqp.publisher import AT_ONCE, BYTES_AT_ONCE, portion
from shared.bus.amqp.readers import start_of
from shared.bus.amqp.sessions import Tags
from shared.bus.base import RETRY, Queue
from shared.bus.delivery import Again, Dead, Done
from voxloom.errors import BusUnavailable, Misconfigured

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STOP = encode(RunStopPassed(subject="run", project="p", epoch=1, incarnation="worker"))


def arrived(letter: Letter) -> DeliveredMessage:
    """The letter as a consumer gets it; the broker adds headers of its own."""
    headers = {**(letter.properties.headers or {}), "x-delivery-count": 3}
    header = ContentHeader(properties=Basic.Properties(headers=headers), body_size=len(letter.body))
    delivery = Basic.Deliver("tag", 1, False, letter.exchange, letter.routing_key)
    return DeliveredMessage(delivery=delivery, header=header, body=letter.body, channel=None)  # type: ignore[arg-type]


def published(message: Message) -> Letter:
    return Letter("events", message.routing_keys[0], properties(message), message.body)


# --- messages ---


def test_a_message_with_several_keys_arrives_with_all_of_them() -> None:
    assert len(STOP.routing_keys) > 1
    assert message_of(arrived(published(STOP))) == STOP


def test_what_is_tried_again_goes_by_the_queue_of_its_delay_and_stays_what_it_was() -> None:
    letter = onward("q", STOP, 1, Again(after=10.0), NOW)
    assert letter is not None
    assert (letter.exchange, letter.routing_key) == ("", delay_queue("q", 10.0))
    assert (message_of(arrived(letter)), tries_of(arrived(letter))) == (STOP, 2)


@pytest.mark.parametrize(("parked", "queue"), [(False, "dead"), (True, "parked")])
def test_the_dead_tell_where_they_come_from_when_and_why(parked: bool, queue: str) -> None:
    letter = onward("q", STOP, 0, Dead("no luck", parked=parked), NOW)
    assert letter is not None
    told = dead_letter(arrived(letter), parked=parked)
    assert letter.routing_key == queue
    assert (told.queue, told.reason, told.time, told.message, told.parked) == ("q", "no luck", NOW, STOP, parked)
    assert told.id


def test_a_reason_without_end_fits_into_a_frame() -> None:
    letter = onward("q", STOP, 0, Dead("x" * 1_000_000), NOW)
    assert letter is not None
    assert 1000 < len(dead_letter(arrived(letter), parked=False).reason) < 100_000


def test_what_is_done_goes_nowhere() -> None:
    assert onward("q", STOP, 0, Done(), NOW) is None


def test_a_dead_letter_of_somebody_else_is_shown_all_the_same() -> None:
    letter = dead_letter(arrived(Letter("", "dead", Basic.Properties(), b"?")), parked=False)
    assert (letter.queue, letter.message.body) == ("", b"?")


FORGED = {"voxloom-keys": ["execution.stop-passed.p.run"], "voxloom-tries": -5, "voxloom-queue": "q"}


def test_headers_that_look_like_our_own_mean_nothing_in_what_comes_over_an_exchange() -> None:
    letter = published(Message(("inbox.worker.w",), {**STOP.headers, **FORGED}, STOP.body))
    assert (message_of(arrived(letter)), tries_of(arrived(letter))) == (
        STOP._replace(routing_keys=("inbox.worker.w",)),
        0,
    )


@pytest.mark.parametrize("odd", [5, "text", None, {"a": 1}])
def test_headers_of_ours_that_are_something_else_are_passed_over(odd: Any) -> None:
    headers: dict[str, Any] = {
        "voxloom-keys": odd,
        "voxloom-tries": odd,
        "voxloom-time": odd,
        "CC": odd,
        "voxloom-letter": odd,
    }
    delivered = arrived(Letter("", "q", Basic.Properties(headers=headers), b""))
    assert (message_of(delivered).routing_keys, tries_of(delivered)) == (("q",), 5 if odd == 5 else 0)


def test_the_dead_can_be_sorted_by_time_whatever_time_they_tell() -> None:
    times = ("2026-11-21T02:57:03", "2026-11-21T02:57:03+00:00", "never")
    letters = [arrived(Letter("", "dead", Basic.Properties(headers={"voxloom-time": told}), b"")) for told in times]
    assert sorted(dead_letter(letter, parked=False).time.year for letter in letters) == [1970, 1970, 2026]


@pytest.mark.parametrize(
    "odd",
    [{"x": "y" * 120_000}, {f"x-{number}": "y" * 200 for number in range(500)}, {"x": 10**30}, {"y" * 300: 1}],
    ids=["one that is long", "many", "a number", "a name"],
)
def test_what_has_headers_of_any_size_gets_out_of_its_queue_as_itself(odd: dict[str, Any]) -> None:
    message = STOP._replace(headers={**STOP.headers, **odd})
    letter = onward("q", message, 0, Dead("no luck"), NOW)
    assert letter is not None
    size = frame_bytes(letter.properties.headers or {})
    assert size is not None
    assert size < 64 << 10
    assert message_of(arrived(letter)).headers.items() >= STOP.headers.items()


# --- settling ---


@pytest.mark.parametrize(
    ("settled", "due"),
    [
        ([], []),
        ([1, 2, 3], [(3, True)]),
        ([2], [(2, False)]),
        ([1, 3], [(1, True), (3, False)]),
        ([3, 2, 1, 5], [(3, True), (5, False)]),
    ],
)
def test_what_is_settled_in_a_row_is_acknowledged_at_once(settled: Iterable[int], due: list[tuple[int, bool]]) -> None:
    tags = Tags()
    for tag in range(1, 6):
        tags.hand_out(tag)
    for tag in settled:
        tags.settle(tag)
    assert list(tags.due()) == due
    assert list(tags.due()) == []


def test_tags_that_were_settled_out_of_order_are_in_nobodys_way() -> None:
    tags = Tags()
    for tag in (1, 2, 3):
        tags.hand_out(tag)
    tags.settle(2)
    assert list(tags.due()) == [(2, False)]
    tags.settle(1)
    tags.settle(3)
    assert list(tags.due()) == [(3, True)]


# --- portions ---


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([], 0),
        ([1] * 10, 10),
        ([1] * (AT_ONCE + 5), AT_ONCE),
        ([BYTES_AT_ONCE * 2, 1], 1),
        ([BYTES_AT_ONCE // 2, BYTES_AT_ONCE // 2, 1], 2),
    ],
)
def test_one_write_has_so_many_messages_and_so_many_bytes_but_at_least_one(sizes: list[int], count: int) -> None:
    letters = [Letter("", "q", Basic.Properties(), b"x" * size) for size in sizes]
    assert len(portion(letters)) == count


# --- declarations ---


def broker(version: str) -> Any:
    return SimpleNamespace(server_properties={"version": version.encode()})


@pytest.mark.parametrize(
    ("version", "limit"), [("3.10.8", None), ("3.13.0", None), ("4.0.5", -1), ("4.2.0", -1), ("rc", None)]
)
def test_only_newer_brokers_are_told_to_deliver_without_end(version: str, limit: int | None) -> None:
    assert queue_arguments(Queue("q", (), RETRY), broker(version)).get("x-delivery-limit") == limit


def test_a_queue_is_declared_as_it_is_meant() -> None:
    queue = Queue("q", (), RETRY, single_active=True, expires=60.0)
    assert queue_arguments(queue, broker("3.10.8")) == {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-expires": 60_000,
    }


def test_what_waits_for_its_next_try_outlives_its_queue_and_is_lost_by_no_broker() -> None:
    queue = Queue("q", (), RETRY, expires=60.0)
    arguments = delay_arguments(queue, 10.0, broker("3.10.8"))
    assert (arguments["x-message-ttl"], arguments["x-expires"]) == (10_000, 70_000)
    assert (arguments["x-dead-letter-routing-key"], arguments["x-dead-letter-strategy"]) == ("q", "at-least-once")


def test_a_small_stream_has_small_segments_so_that_it_can_be_cut() -> None:
    assert stream_arguments(24.0, 1 << 20)["x-stream-max-segment-size-bytes"] == 1 << 18
    assert stream_arguments(24.0, 1 << 30)["x-stream-max-segment-size-bytes"] == 50_000_000


@pytest.mark.parametrize(
    ("after", "since", "start"),
    [(None, None, "next"), (None, NOW, NOW), (5, None, 5), (0, NOW, 0), (-3, None, 0)],
)
def test_a_follower_begins_where_it_was_told(after: int | None, since: datetime | None, start: object) -> None:
    assert start_of(after, since) == start


# --- addresses and errors ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:secret@host:5672/place", "amqp://host:5672, vhost 'place'"),
        ("amqps://user:secret@[::1]:5671/%2F", "amqps://[::1]:5671, vhost '/'"),
        ("amqp://host", "amqp://host, vhost '/'"),
        ("amqp://u:p@host/a%2Fb", "amqp://host, vhost 'a/b'"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert parse(url).shown == shown


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (amqp.ProbableAuthenticationError("ACCESS_REFUSED"), Misconfigured, "user or the password"),
        (amqp.InvalidFrameError("Expected one of ['Connection.OpenOk'], got Close"), Misconfigured, "make the vhost"),
        (amqp.InvalidFrameError("something else"), Misconfigured, "no AMQP"),
        (amqp.ChannelAccessRefused("no access to queue 'x'"), Misconfigured, "rights"),
        (amqp.ChannelPreconditionFailed("inequivalent arg 'x-queue-type'"), Misconfigured, "older version"),
        (amqp.ChannelNotFoundEntity("no queue 'x'"), NotThere, "does not have"),
        (ConnectionRefusedError("refused"), BusUnavailable, "refused"),
        (amqp.ConnectionClosed(320, "shutdown"), BusUnavailable, "cannot be reached"),
        (TimeoutError(), BusUnavailable, "TimeoutError"),
        (ssl.SSLError("unknown authority"), Misconfigured, "cafile"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), BusUnavailable, "cannot be reached"),
    ],
)
def test_errors_are_told_in_our_words(error: Exception, kind: type[Exception], says: str) -> None:
    told = translated(error, "amqp://host")
    assert type(told) is kind
    assert says in str(told)


class ChannelOfAnotherVersion:
    number = max_content_size = None


def test_a_library_whose_channels_are_others_is_told_with_the_versions_that_are_known() -> None:
    with pytest.raises(Misconfigured, match=r"aiormq 7\.2 .* its channels lack lock, write_queue"):
        check_library(cast(Any, ChannelOfAnotherVersion()))
