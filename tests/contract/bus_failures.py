"""What becomes of events whose handler fails, and of messages that nobody understands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from messages.base import Event
from messages.wire import PREFIX, Message, encode
from shared.bus.base import Bus, Policy, Queue
from tests.contract.bus_tools import ONCE, TWICE, BusTests, Footing, Inbox, numbers, until
from voxloom.errors import InvalidInput


class FailureBehaviour(BusTests):
    """Nothing is lost, and nothing is in the way of others for ever."""

    # --- failing handlers ---

    async def test_a_queue_that_keeps_tries_the_same_event_until_it_succeeds(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"b": 4})
        await bus.consume(queue, inbox)
        await bus.publish(*map(uploaded, "abc"))
        await inbox.has("c")
        assert inbox.tried == ["a", "b", "b", "b", "b", "b", "c"]

    async def test_a_queue_that_keeps_tries_the_same_batch_again(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"7": 2})
        await bus.consume(replace(queue, batch=5), inbox)
        await bus.publish(*map(uploaded, numbers(0, 20)))
        await inbox.has("19")
        assert inbox.subjects == numbers(0, 20)

    async def test_where_trying_is_limited_others_go_on_meanwhile(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"a": 1})
        await bus.consume(replace(queue, policy=Policy(delays=(0.5,))), inbox)
        await bus.publish(*map(uploaded, "abc"))
        await inbox.has("a")
        assert inbox.subjects == ["b", "c", "a"]

    async def test_after_the_last_try_comes_the_dead_letter_with_its_reason(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"a": 100})
        await bus.consume(replace(queue, policy=TWICE), inbox)
        await bus.publish(uploaded("a"))
        letter = await self.dead_letter(bus, queue)
        assert inbox.tried == ["a", "a", "a"]
        assert "ValueError: no luck with a" in letter.reason
        assert not letter.parked

    async def test_a_failed_event_is_tried_again_by_the_next_bus(
        self, footing: Footing, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        first, second = Inbox(fails={"a": 1}), Inbox()
        spec = replace(queue, policy=Policy(delays=(1.0,)))
        await footing.bus.consume(spec, first)
        await footing.bus.publish(*map(uploaded, "ab"))
        await first.has("b")
        bus = await footing.reopen()
        await bus.consume(spec, second)
        await second.has("a")
        assert second.subjects == ["a"]

    async def test_a_dead_letter_can_be_given_back(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"a": 1})
        await bus.consume(replace(queue, policy=ONCE), inbox)
        await bus.publish(uploaded("a"))
        letter = await self.dead_letter(bus, queue)
        await bus.replay(letter.id)
        await inbox.has("a")
        assert await self.dead_letters(bus, queue) == []

    async def test_a_dead_letter_goes_back_to_its_own_queue_alone(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        failing, other = Inbox(fails={"a": 1}), Inbox()
        await bus.consume(replace(queue, policy=ONCE), failing)
        await bus.consume(replace(queue, name=f"{queue.name}-2"), other)
        await bus.publish(uploaded("a"))
        await bus.replay((await self.dead_letter(bus, queue)).id)
        await failing.has("a")
        await bus.publish(uploaded("end"))
        await other.has("end")
        assert other.subjects == ["a", "end"]

    async def test_a_dead_letter_given_back_has_all_its_tries_again(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"a": 5})
        await bus.consume(replace(queue, policy=TWICE), inbox)
        await bus.publish(uploaded("a"))
        await bus.replay((await self.dead_letter(bus, queue)).id)
        await inbox.has("a")
        assert inbox.tried == ["a"] * 6

    async def test_many_dead_letters_go_back_at_once_and_what_is_not_there_is_told_apart(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        # Given three dead letters, of which two are wanted
        inbox = Inbox(fails={"a": 1, "b": 1, "c": 1})
        await bus.consume(replace(queue, policy=ONCE), inbox)
        for subject in ("a", "b", "c"):
            await bus.publish(uploaded(subject))
        first, second, third = await self.first_dead(bus, queue, 3)
        # When they are asked for among others that are not there
        replayed = await bus.replay(first.id, third.id, "123456789")
        # Then those two come again, and the other stays
        await until(lambda: len(inbox.subjects) == 2)
        assert replayed == {first.id, third.id}
        assert [letter.id for letter in await self.dead_letters(bus, queue)] == [second.id]

    async def test_what_is_not_there_is_not_replayed(self, bus: Bus) -> None:
        assert await bus.replay("123456789", "nonsense", "../x", "", "١٢") == set()

    async def test_a_handler_that_is_cancelled_from_within_has_failed_and_lives_on(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        tried: list[str] = []

        async def handler(events: Sequence[Event]) -> None:
            tried.append(events[0].subject)
            if len(tried) == 1:
                raise asyncio.CancelledError
            await inbox(events)

        await bus.consume(queue, handler)
        await bus.publish(uploaded("a"))
        await inbox.has("a")
        assert tried == ["a", "a"]

    # --- messages nobody understands ---

    async def test_what_cannot_be_decoded_is_a_dead_letter_at_once(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        rubbish = encode(uploaded("rubbish"))._replace(body=b"\xff\x00 no JSON")
        await bus.publish_message(rubbish)
        await bus.publish(uploaded("good"))
        letter = await self.dead_letter(bus, queue)
        assert (letter.parked, letter.message.body) == (False, rubbish.body)
        await inbox.has("good")
        assert inbox.tried == ["good"]

    async def test_a_version_newer_than_ours_is_parked(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        message = encode(uploaded("new"))
        headers = {**message.headers, f"{PREFIX}type": "voxloom.file.uploaded.v9"}
        await bus.publish_message(message._replace(headers=headers))
        letter = await self.dead_letter(bus, queue)
        assert letter.parked
        assert (letter.message.headers, letter.message.body) == (headers, message.body)

    async def test_bytes_that_are_an_event_arrive_as_one(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        event = uploaded("a")
        await bus.publish_message(encode(event))
        await inbox.has("a")
        assert inbox.events == [event]

    async def test_a_message_without_a_routing_key_is_refused(self, bus: Bus) -> None:
        with pytest.raises(InvalidInput):
            await bus.publish_message(Message((), {}, b"{}"))
