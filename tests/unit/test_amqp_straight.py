"""Messages and confirms that go to who waits for them without the library's queues."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pamqp.frame
import pytest
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from shared.bus.amqp.confirms import Confirms
from shared.bus.amqp.frames import Frames
from shared.bus.amqp.straight import Straight
from tests.each import each

ONE = (
    Basic.Deliver("mine", 1, False, "events", "k"),
    ContentHeader(body_size=4),
    ContentBody(b"ab"),
    ContentBody(b"cd"),
)
EMPTY = (Basic.Deliver("mine", 2, False, "events", "k"), ContentHeader(body_size=0))
FOREIGN = (Basic.Deliver("other", 3, False, "events", "k"), ContentHeader(body_size=1), ContentBody(b"x"))


CHANNEL = cast(Any, SimpleNamespace(number=7))


def nothing() -> None:
    pass


class Channel:
    def __init__(self, number: int) -> None:
        self.number = number
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Heard:
    """What has come straight, and what the library is left with."""

    def __init__(self) -> None:
        self.straight, self.bodies = Straight(), list[bytes]()
        self.straight.hand_to(self._take, CHANNEL, "mine")

    def _take(self, message: DeliveredMessage) -> None:
        self.bodies.append(message.body)

    def left(self, *frames: tuple[int, Any]) -> list[Any]:
        return [frame for channel, frame in frames if not self.straight.takes(channel, frame)]


def on(channel: int, *frames: Any) -> list[tuple[int, Any]]:
    return [(channel, frame) for frame in frames]


def test_messages_come_straight_and_whole() -> None:
    heard = Heard()
    assert heard.left(*on(7, *ONE, *EMPTY)) == []
    assert heard.bodies == [b"abcd", b""]


def test_what_nobody_waits_for_is_left_to_the_library() -> None:
    heard, cancel = Heard(), Basic.Cancel("mine")
    assert heard.left(*on(7, *FOREIGN, cancel), *on(8, *ONE)) == [*FOREIGN, cancel, *ONE]
    assert heard.bodies == []


def test_frames_of_channels_may_be_mixed() -> None:
    heard = Heard()
    mixed = [frame for pair in zip(on(7, *ONE[:3]), on(8, *FOREIGN), strict=True) for frame in pair] + on(7, ONE[3])
    assert (heard.left(*mixed), heard.bodies) == (list(FOREIGN), [b"abcd"])


def test_a_consumer_that_is_forgotten_gets_nothing_more_than_what_has_begun() -> None:
    heard = Heard()
    heard.left(*on(7, *ONE[:2]))
    heard.straight.forget(CHANNEL, "mine", nothing)
    assert heard.left(*on(7, *ONE[2:], *EMPTY)) == list(EMPTY)
    assert heard.bodies == [b"abcd"]


@each("size", [1, 5, 10_000])
async def test_the_library_hears_that_the_connection_lives(size: int) -> None:
    # Given a connection over which nothing comes but what goes straight
    heard, reader = Heard(), asyncio.StreamReader()
    frames, data = Frames(reader, heard.straight), b"".join(pamqp.frame.marshal(one, 7) for one in (*ONE, *EMPTY))
    for at in range(0, len(data), size):
        reader.feed_data(data[at : at + size])
    # When all of it is read
    first = await frames.get_frame()
    # Then the library is given a sign of life, which belongs to no channel
    assert (first[1], type(first[2])) == (0, Heartbeat)
    assert heard.bodies[0] == b"abcd"


def test_answers_come_straight_until_the_channel_is_another_one() -> None:
    # Given two sessions, of which the second has got the channel's number of the first
    straight, first, second = Straight(), list[int](), list[int]()
    before, after = partial(first.append, 1), partial(second.append, 1)
    straight.answer(before, CHANNEL)
    assert straight.takes(7, Basic.QosOk())
    straight.answer(after, CHANNEL)
    # When the first is forgotten late
    straight.forget(CHANNEL, "", before)
    # Then the second still hears its answers, and nobody any more once it is forgotten, too
    assert straight.takes(7, Basic.QosOk())
    straight.forget(CHANNEL, "", after)
    assert (straight.takes(7, Basic.QosOk()), first, second) == (False, [1], [1])


def ack(tag: int, *, multiple: bool = False) -> tuple[int, bool, bool]:
    return tag, True, multiple


def nack(tag: int, *, multiple: bool = False) -> tuple[int, bool, bool]:
    return tag, False, multiple


@pytest.mark.parametrize(
    ("answers", "confirmed"),
    [
        ([ack(2), ack(1), ack(3)], [2, 1]),
        ([ack(3, multiple=True)], [2, 1]),
        ([ack(1), nack(3, multiple=True)], [1, 0]),
        ([nack(1), ack(2)], [0, None]),
        ([ack(2)], [None, None]),
        ([ack(1), ack(1), ack(9), ack(0)], [None, None]),
        ([ack(2, multiple=True), nack(3)], [2, 0]),
    ],
)
async def test_a_batch_is_done_when_all_of_it_was_answered(
    answers: list[tuple[int, bool, bool]], confirmed: list[int | None]
) -> None:
    confirms = Confirms()
    batches = [confirms.expect(2), confirms.expect(1)]
    for tag, good, multiple in answers:
        confirms.hear(tag, good=good, multiple=multiple)
    assert [batch.result() if batch.done() else None for batch in batches] == confirmed


async def test_a_channel_that_is_lost_confirms_nothing_more() -> None:
    # Given a channel on which one of three messages was confirmed
    straight, channel = Straight(), Channel(3)
    confirms = straight.confirms_of(cast(Any, channel))
    batch = confirms.expect(3)
    assert straight.takes(3, Basic.Ack(1))
    # When it closes
    channel.closing.set_result(None)
    # Then that one counts, and what is written too late does not wait
    assert await batch == 1
    assert await confirms.expect(2) == 0


def test_confirms_of_other_channels_are_left_to_the_library() -> None:
    assert not Straight().takes(3, Basic.Ack(1))


async def test_who_does_not_insist_takes_a_refusal_for_an_answer_and_a_loss_for_none() -> None:
    straight, channel = Straight(), Channel(3)
    confirms = straight.confirms_of(cast(Any, channel), insists=False)
    refused, lost = confirms.expect(1), confirms.expect(1)
    straight.takes(3, Basic.Nack(1))
    channel.closing.set_result(None)
    assert (await refused, await lost) == (1, 0)
