"""What is kept, for whom, in what order and in what portions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from messages.base import Event, worker_inbox
from messages.files import FileDeleteRequested
from messages.runs import RunStopPassed
from shared.bus.base import Bus, Queue
from tests.contract.bus_tools import TWICE, BusTests, Footing, Inbox, numbers, until
from tests.named import A, B


class QueueBehaviour(BusTests):
    """Queues that are served well."""

    # --- keeping and order ---

    async def test_events_reach_the_handler_in_the_order_of_their_publishing(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        for subject in numbers(0, 200):
            await bus.publish(uploaded(subject))
        await inbox.has("199")
        assert inbox.subjects == numbers(0, 200)

    async def test_events_of_one_publish_keep_their_order(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish(*map(uploaded, numbers(0, 500)))
        await inbox.has("499")
        assert inbox.subjects == numbers(0, 500)

    async def test_an_event_arrives_as_it_was_published(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        event = uploaded("f").model_copy(update={"attempt": 3, "traceparent": "00-a-b-01"})
        await bus.publish(event)
        await inbox.has("f")
        assert inbox.events == [event]

    async def test_a_declared_queue_keeps_what_comes_while_nobody_consumes(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.declare(queue)
        await bus.publish(*map(uploaded, "abc"))
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await inbox.has("c")
        assert inbox.subjects == ["a", "b", "c"]

    async def test_what_came_before_a_queue_was_declared_is_not_in_it(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.publish(uploaded("before"))
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish(uploaded("after"))
        await inbox.has("after")
        assert inbox.subjects == ["after"]

    async def test_waiting_events_outlive_the_bus(
        self, footing: Footing, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await footing.bus.declare(queue)
        await footing.bus.publish(*map(uploaded, numbers(0, 50)))
        bus = await footing.reopen()
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await inbox.has("49")
        assert inbox.subjects == numbers(0, 50)

    async def test_a_queue_keeps_while_no_process_knows_it(
        self, footing: Footing, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await footing.bus.declare(queue)
        bus = await footing.reopen()
        await bus.publish(uploaded("a"))
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await inbox.has("a")

    async def test_what_is_settled_does_not_come_again(
        self, footing: Footing, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        first, second = Inbox(), Inbox()
        await footing.bus.consume(queue, first)
        await footing.bus.publish(*map(uploaded, "abc"))
        await first.has("c")
        bus = await footing.reopen()
        await bus.consume(queue, second)
        await bus.publish(uploaded("d"))
        await second.has("d")
        assert second.subjects == ["d"]

    async def test_every_queue_gets_its_own_copy(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        one, two = Inbox(), Inbox()
        await bus.consume(queue, one)
        await bus.consume(replace(queue, name=f"{queue.name}-2"), two)
        await bus.publish(uploaded("a"))
        await one.has("a")
        await two.has("a")

    async def test_a_handler_may_publish(self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]) -> None:
        inbox = Inbox()

        async def answer(events: Sequence[Event]) -> None:
            await inbox(events)
            if events[0].subject == "question":
                await bus.publish(uploaded("answer"))

        await bus.consume(queue, answer)
        await bus.publish(uploaded("question"))
        await inbox.has("answer")

    async def test_publishing_nothing_is_nothing(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish()
        await bus.publish(uploaded("a"))
        await inbox.has("a")
        assert inbox.subjects == ["a"]

    async def test_a_cancelled_publish_disturbs_no_other(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(queue, inbox)
        publishing = [asyncio.create_task(bus.publish(uploaded(subject))) for subject in numbers(0, 20)]
        await asyncio.sleep(0)
        publishing[10].cancel()
        results = await asyncio.gather(*publishing, return_exceptions=True)
        await bus.publish(uploaded("last"))
        await inbox.has("last", *(str(n) for n, result in enumerate(results) if result is None))
        assert sum(result is not None for result in results) <= 1

    # --- routing ---

    @pytest.mark.parametrize(
        ("pattern", "fits"),
        [
            ("file.uploaded.{p}.f", True),
            ("file.uploaded.{p}.g", False),
            ("file.uploaded.{p}.*", True),
            ("file.uploaded.{p}.#", True),
            ("file.*.{p}.f", True),
            ("file.deleted.{p}.#", False),
            ("*.*.{p}.#", True),
            ("*.*.{p}", False),
            ("#.{p}.#", True),
            ("#.{p}.f", True),
            ("#.{p}", False),
            ("file.#.{p}.f", True),
            ("file.uploaded.{p}.f.#", True),
            ("file.uploaded.{p}.f.*", False),
        ],
    )
    async def test_patterns_choose_as_topics_do(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str, pattern: str, fits: bool
    ) -> None:
        inbox = Inbox()
        end = FileDeleteRequested(subject="end", project=project)
        patterns = (pattern.format(p=project), end.routing_key)
        await bus.consume(replace(queue, bindings=patterns), inbox)
        await bus.publish(uploaded("f"), end)
        await inbox.has("end")
        assert inbox.subjects == (["f", "end"] if fits else ["end"])

    async def test_an_event_also_reaches_the_queues_of_its_further_keys(
        self, bus: Bus, queue: Queue, project: str
    ) -> None:
        inbox = Inbox()
        await bus.consume(replace(queue, bindings=(worker_inbox(project),)), inbox)
        await bus.publish(RunStopPassed(subject=A, project=project, epoch=1, incarnation=project))
        await inbox.has(A)

    async def test_a_queue_that_several_keys_and_patterns_reach_gets_an_event_once(
        self, bus: Bus, queue: Queue, project: str
    ) -> None:
        inbox = Inbox()
        patterns = (worker_inbox(project), f"execution.*.{project}.#", f"#.{project}.#")
        await bus.consume(replace(queue, bindings=patterns), inbox)
        for run in (A, B):
            await bus.publish(RunStopPassed(subject=run, project=project, epoch=1, incarnation=project))
        await inbox.has(B)
        assert inbox.subjects == [A, B]

    async def test_other_bindings_hold_from_their_declaration_on(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        await bus.declare(queue)
        await bus.publish(uploaded("old, bound"), FileDeleteRequested(subject="old, unbound", project=project))
        both = replace(queue, bindings=(*queue.bindings, f"file.delete-requested.{project}.#"))
        await bus.declare(both)
        await bus.publish(FileDeleteRequested(subject="new", project=project), uploaded("end"))
        inbox = Inbox()
        await bus.consume(both, inbox)
        await inbox.has("end")
        assert inbox.subjects == ["old, bound", "new", "end"]

    async def test_declaring_again_changes_nothing(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.declare(queue)
        await bus.publish(uploaded("a"))
        await bus.declare(queue, queue)
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await bus.publish(uploaded("b"))
        await inbox.has("b")
        assert inbox.subjects == ["a", "b"]

    # --- batches and concurrency ---

    async def test_waiting_events_come_in_batches_of_the_size_asked_for(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.declare(queue)
        await bus.publish(*map(uploaded, numbers(0, 95)))
        inbox = Inbox()
        await bus.consume(replace(queue, batch=10), inbox)
        await inbox.has("94")
        assert inbox.subjects == numbers(0, 95)
        assert 1 < max(map(len, inbox.batches)) <= 10

    async def test_a_batch_may_take_its_time_to_fill(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        inbox = Inbox()
        await bus.consume(replace(queue, batch=100, linger=0.5), inbox)
        for subject in "abcde":
            await bus.publish(uploaded(subject))
        await inbox.has("e")
        assert inbox.batches == [["a", "b", "c", "d", "e"]]

    async def test_a_batch_that_is_full_waits_no_longer(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        await bus.declare(queue)
        await bus.publish(*map(uploaded, numbers(0, 50)))
        inbox = Inbox()
        await bus.consume(replace(queue, batch=10, linger=60.0), inbox)
        async with asyncio.timeout(30.0):
            await inbox.has("39")

    async def test_one_call_at_a_time_is_the_rule(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        most = await self._most_at_once(bus, queue, uploaded, events=20)
        assert most == 1

    async def test_concurrent_handlers_are_as_many_as_asked_for(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        most = await self._most_at_once(bus, replace(queue, concurrency=3, policy=TWICE), uploaded, events=30)
        assert most == 3

    async def _most_at_once(self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], *, events: int) -> int:
        running = most = done = 0

        async def handler(batch: Sequence[Event]) -> None:
            nonlocal running, most, done
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            done += len(batch)

        await bus.consume(queue, handler)
        await bus.publish(*map(uploaded, numbers(0, events)))
        await until(lambda: done == events)
        return most
