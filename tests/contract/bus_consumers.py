"""Consumers, buses and queues that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from messages.base import Event
from messages.runs import RunProgressed
from messages.wire import encode
from shared.bus.base import KEEP, Bus, Queue
from tests.contract.bus_tools import BusTests, Footing, Inbox, numbers, until
from voxloom.errors import BusUnavailable


class ConsumerBehaviour(BusTests):
    """Who is served, until when, and what is left to the next."""

    # --- consumers that come and go ---

    async def test_of_two_consumers_one_is_served_and_the_other_takes_over(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        first, second = Inbox(), Inbox()
        spec = replace(queue, single_active=True)
        active = await bus.consume(spec, first)
        standby = await bus.consume(spec, second)
        await bus.publish(*map(uploaded, numbers(0, 20)))
        await first.has("19")
        await active.close()
        await bus.publish(*map(uploaded, numbers(20, 40)))
        await second.has("39")
        assert (first.subjects, second.subjects) == (numbers(0, 20), numbers(20, 40))
        assert standby.alive

    async def test_the_next_consumer_waits_until_the_first_has_ended_its_event(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        told: list[str] = []
        entered = asyncio.Event()

        async def slow(events: Sequence[Event]) -> None:
            entered.set()
            await asyncio.sleep(0.1)
            told.append(f"first {events[0].subject}")

        async def quick(events: Sequence[Event]) -> None:
            told.append(f"second {events[0].subject}")

        spec = replace(queue, single_active=True)
        active = await bus.consume(spec, slow)
        await bus.consume(spec, quick)
        await bus.publish(*map(uploaded, "ab"))
        await entered.wait()
        await active.close()
        await until(lambda: len(told) == 2)
        assert told == ["first a", "second b"]

    async def test_a_handler_that_does_not_end_is_cancelled_and_its_events_come_again(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        entered = asyncio.Event()

        async def endless(events: Sequence[Event]) -> None:
            entered.set()
            await asyncio.sleep(3600)

        spec = replace(queue, batch=2)
        await bus.declare(spec)
        await bus.publish(*map(uploaded, "abc"))
        consumer = await bus.consume(spec, endless)
        await entered.wait()
        await consumer.close(drain=0.05)
        inbox = Inbox()
        await bus.consume(spec, inbox)
        await inbox.has("c")
        assert inbox.subjects == ["a", "b", "c"]

    async def test_a_failing_handler_does_not_hold_up_its_close(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox(fails={"a": 1_000_000})
        consumer = await bus.consume(replace(queue, policy=KEEP), inbox)
        await bus.publish(uploaded("a"))
        await until(lambda: len(inbox.tried) >= 2)
        async with asyncio.timeout(30.0):
            await consumer.close(drain=60.0)
        assert not consumer.alive

    async def test_a_closed_consumer_gets_nothing_more(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        closed, later = Inbox(), Inbox()
        consumer = await bus.consume(queue, closed)
        await consumer.close()
        await bus.publish(uploaded("a"))
        await bus.consume(queue, later)
        await later.has("a")
        assert closed.subjects == []

    async def test_a_consumer_is_alive_until_it_is_closed(self, bus: Bus, queue: Queue) -> None:
        consumer = await bus.consume(queue, Inbox())
        alive = consumer.alive
        await consumer.close()
        assert (alive, consumer.alive) == (True, False)

    async def test_closing_twice_is_fine(self, bus: Bus, queue: Queue) -> None:
        consumer = await bus.consume(queue, Inbox())
        await asyncio.gather(consumer.close(), consumer.close())
        await consumer.close()

    async def test_closing_the_bus_lets_handlers_end_and_publish(
        self, footing: Footing, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        entered = asyncio.Event()

        async def slow(events: Sequence[Event]) -> None:
            entered.set()
            await asyncio.sleep(0.1)
            await old.publish(uploaded("answer"))

        old = footing.bus
        await old.consume(queue, slow)
        await old.publish(uploaded("question"))
        await entered.wait()
        bus = await footing.reopen()
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await inbox.has("answer")
        assert inbox.subjects == ["answer"]

    async def test_a_closed_bus_refuses(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        await bus.close()
        bus.announce(RunProgressed(subject="run", project=project, progress=0.5))
        for call in (
            lambda: bus.publish(uploaded("a")),
            lambda: bus.publish_message(encode(uploaded("a"))),
            lambda: bus.declare(queue),
            lambda: bus.consume(queue, Inbox()),
            lambda: bus.stats(),
            lambda: bus.dead_letters(),
        ):
            with pytest.raises(BusUnavailable):
                await call()

    async def test_a_working_bus_is_healthy(self, bus: Bus, queue: Queue) -> None:
        await bus.consume(queue, Inbox())
        assert await bus.healthy()

    # --- queues as things ---

    async def test_stats_tell_what_waits(self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]) -> None:
        await bus.declare(queue)
        await bus.publish(*map(uploaded, "abc"))
        await until(lambda: self.waits(bus, queue, 3))
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await until(lambda: self.waits(bus, queue, 0))
        stats = await self.stats(bus, queue)
        assert stats is not None
        assert stats.consumers == 1

    async def test_a_deleted_queue_is_gone_with_all_in_it(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.declare(queue)
        await bus.publish(uploaded("a"))
        await bus.delete_queue(queue.name)
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish(uploaded("b"))
        await inbox.has("b")
        assert inbox.subjects == ["b"]

    async def test_deleting_what_is_not_there_is_silent(self, bus: Bus, queue: Queue) -> None:
        await bus.delete_queue(queue.name)
        assert await self.stats(bus, queue) is None

    async def test_the_consumer_of_a_deleted_queue_is_not_alive(self, bus: Bus, queue: Queue) -> None:
        consumer = await bus.consume(queue, Inbox())
        await bus.delete_queue(queue.name)
        await until(lambda: not consumer.alive)
        assert not await bus.healthy()

    async def test_a_queue_that_nobody_consumes_expires(self, bus: Bus, queue: Queue) -> None:
        spec = replace(queue, expires=0.3)
        await bus.declare(spec)
        assert await self.stats(bus, spec) is not None
        await until(lambda: self.is_gone(bus, spec))

    async def test_a_queue_with_a_consumer_does_not_expire(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        short, inbox = replace(queue, name=f"{queue.name}-short", expires=0.3), Inbox()
        await bus.consume(replace(queue, expires=0.3), inbox)
        await bus.declare(short)
        await until(lambda: self.is_gone(bus, short))
        await bus.publish(uploaded("a"))
        await inbox.has("a")
