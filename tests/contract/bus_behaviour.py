"""What every bus does. An adapter's tests subclass BusBehaviour and give it a `footing` fixture.

A broker may be shared by many tests: each has a project of its own in its routing keys, and names of its own for
its queues.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from messages.base import Event, worker_inbox
from messages.executions import ExecutionProgressed, ExecutionStopPassed
from messages.files import FileDeleteRequested, FileUploaded
from messages.wire import PREFIX, Message, encode
from shared.bus.base import KEEP, Bus, DeadLetter, Policy, Queue, QueueStats
from voxloom.errors import BusUnavailable, InvalidInput, NotFound
from voxloom.ids import new_id
from voxloom.models import utc_now

DEADLINE = 20.0
QUICK = Policy(delays=None, first_pause=0.01, longest_pause=0.02)
"""KEEP, for tests."""
TWICE = Policy(delays=(0.05, 0.05))
"""Three tries."""
ONCE = Policy(delays=())


class Footing(ABC):
    """An adapter under test. Queues that have expired are gone within a second or so."""

    bus: Bus

    @abstractmethod
    async def reopen(self) -> Bus:
        """Closes the bus and opens a new one on the same data."""


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    """Polls until `condition` holds."""
    async with asyncio.timeout(deadline):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.005)


class Inbox:
    """A handler that remembers, for queues, streams and live events. `fails` says of which subjects, how often."""

    def __init__(self, fails: dict[str, int] | None = None) -> None:
        self.batches: list[list[str]] = []
        self.events: list[Event] = []
        self.offsets: list[int] = []
        self.tried: list[str] = []
        self._fails = dict(fails or {})

    @property
    def subjects(self) -> list[str]:
        return [event.subject for event in self.events]

    async def __call__(self, events: Sequence[Event]) -> None:
        subjects = [event.subject for event in events]
        self.tried += subjects
        for subject in subjects:
            if self._fails.get(subject, 0) > 0:
                self._fails[subject] -= 1
                raise ValueError(f"no luck with {subject}")
        self.batches.append(subjects)
        self.events += events

    async def has(self, *subjects: str) -> None:
        """Waits until these have come, in any order."""
        await until(lambda: set(subjects) <= set(self.subjects))


class StreamInbox(Inbox):
    """Remembers what one project says on the stream."""

    def __init__(self, project: str) -> None:
        super().__init__()
        self._project = project

    async def take(self, events: Sequence[tuple[int, Event]]) -> None:
        ours = [(offset, event) for offset, event in events if event.project == self._project]
        self.offsets += [offset for offset, _ in ours]
        self.events += [event for _, event in ours]


def numbers(start: int, end: int) -> list[str]:
    return [str(number) for number in range(start, end)]


class BusBehaviour:
    """Subclass as `Test…` beside a fixture `footing`."""

    @pytest.fixture
    def project(self) -> str:
        return f"t{new_id()}"

    @pytest.fixture
    def bus(self, footing: Footing) -> Bus:
        return footing.bus

    @pytest.fixture
    def uploaded(self, project: str) -> Callable[[str], FileUploaded]:
        return lambda subject: FileUploaded(subject=subject, project=project, size=1, etag="e")

    @pytest.fixture
    def queue(self, project: str) -> Queue:
        """Keeps every upload of this test."""
        return Queue(f"q-{project}", (f"file.uploaded.{project}.#",), QUICK)

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

    async def test_publishing_nothing_is_nothing(self, bus: Bus) -> None:
        before = await bus.last_offset()
        await bus.publish()
        assert await bus.last_offset() == before

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
        await bus.publish(ExecutionStopPassed(subject="run", project=project, epoch=1, incarnation=project))
        await inbox.has("run")

    async def test_a_queue_that_several_keys_and_patterns_reach_gets_an_event_once(
        self, bus: Bus, queue: Queue, project: str
    ) -> None:
        inbox = Inbox()
        patterns = (worker_inbox(project), f"execution.*.{project}.#", f"#.{project}.#")
        await bus.consume(replace(queue, bindings=patterns), inbox)
        for run in "ab":
            await bus.publish(ExecutionStopPassed(subject=run, project=project, epoch=1, incarnation=project))
        await inbox.has("b")
        assert inbox.subjects == ["a", "b"]

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
        await bus.consume(replace(queue, batch=10, linger=2.0), inbox)
        async with asyncio.timeout(5.0):
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
        letter = await self._dead_letter(bus, queue)
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
        letter = await self._dead_letter(bus, queue)
        await bus.replay(letter.id)
        await inbox.has("a")
        assert await self._dead_letters(bus, queue) == []

    async def test_a_dead_letter_goes_back_to_its_own_queue_alone(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        failing, other = Inbox(fails={"a": 1}), Inbox()
        await bus.consume(replace(queue, policy=ONCE), failing)
        await bus.consume(replace(queue, name=f"{queue.name}-2"), other)
        await bus.publish(uploaded("a"))
        await bus.replay((await self._dead_letter(bus, queue)).id)
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
        await bus.replay((await self._dead_letter(bus, queue)).id)
        await inbox.has("a")
        assert inbox.tried == ["a"] * 6

    async def test_replaying_what_is_not_there_is_refused(self, bus: Bus) -> None:
        for identity in ("123456789", "nonsense", "../x", ""):
            with pytest.raises(NotFound):
                await bus.replay(identity)

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
        letter = await self._dead_letter(bus, queue)
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
        letter = await self._dead_letter(bus, queue)
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
        async with asyncio.timeout(3.0):
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
        bus.announce(ExecutionProgressed(subject="run", project=project, progress=0.5))
        for call in (
            lambda: bus.publish(uploaded("a")),
            lambda: bus.publish_message(encode(uploaded("a"))),
            lambda: bus.declare(queue),
            lambda: bus.consume(queue, Inbox()),
            lambda: bus.last_offset(),
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
        await until(lambda: self._waits(bus, queue, 3))
        inbox = Inbox()
        await bus.consume(queue, inbox)
        await until(lambda: self._waits(bus, queue, 0))
        stats = await self._stats(bus, queue)
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
        assert await self._stats(bus, queue) is None

    async def test_the_consumer_of_a_deleted_queue_is_not_alive(self, bus: Bus, queue: Queue) -> None:
        consumer = await bus.consume(queue, Inbox())
        await bus.delete_queue(queue.name)
        await until(lambda: not consumer.alive)
        assert not await bus.healthy()

    async def test_a_queue_that_nobody_consumes_expires(self, bus: Bus, queue: Queue) -> None:
        spec = replace(queue, expires=0.3)
        await bus.declare(spec)
        assert await self._stats(bus, spec) is not None
        await until(lambda: self._is_gone(bus, spec))

    async def test_a_queue_with_a_consumer_does_not_expire(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event]
    ) -> None:
        short, inbox = replace(queue, name=f"{queue.name}-short", expires=0.3), Inbox()
        await bus.consume(replace(queue, expires=0.3), inbox)
        await bus.declare(short)
        await until(lambda: self._is_gone(bus, short))
        await bus.publish(uploaded("a"))
        await inbox.has("a")

    # --- the stream ---

    async def test_a_follower_hears_what_is_published_from_now_on(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        await bus.publish(uploaded("before"))
        await bus.follow(inbox.take)
        await bus.publish(*map(uploaded, numbers(0, 300)))
        await inbox.has("299")
        assert inbox.subjects == numbers(0, 300)

    async def test_offsets_grow(self, bus: Bus, uploaded: Callable[[str], Event], project: str) -> None:
        inbox = StreamInbox(project)
        await bus.follow(inbox.take)
        for subject in "abcde":
            await bus.publish(uploaded(subject))
        await inbox.has("e")
        assert inbox.offsets == sorted(set(inbox.offsets))

    async def test_a_follower_goes_on_after_an_offset(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        first, second = StreamInbox(project), StreamInbox(project)
        await bus.follow(first.take)
        await bus.publish(*map(uploaded, numbers(0, 100)))
        await first.has("99")
        await bus.follow(second.take, after=first.offsets[39])
        await bus.publish(uploaded("end"))
        await second.has("end")
        assert second.subjects == [*numbers(40, 100), "end"]

    async def test_an_event_has_the_same_offset_for_every_follower_and_every_bus(
        self, footing: Footing, uploaded: Callable[[str], Event], project: str
    ) -> None:
        first, second = StreamInbox(project), StreamInbox(project)
        before = await footing.bus.last_offset()
        await footing.bus.follow(first.take)
        await footing.bus.publish(*map(uploaded, "abc"))
        await first.has("c")
        bus = await footing.reopen()
        await bus.follow(second.take, after=before)
        await second.has("c")
        assert second.offsets == first.offsets

    async def test_an_offset_from_before_all_that_is_kept_means_all_of_it(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        await bus.publish(*map(uploaded, "abc"))
        await bus.follow(inbox.take, after=0)
        await inbox.has("c")
        assert inbox.subjects == ["a", "b", "c"]

    async def test_a_follower_begins_at_a_time(self, bus: Bus, uploaded: Callable[[str], Event], project: str) -> None:
        inbox = StreamInbox(project)
        moment = utc_now()
        await bus.publish(*map(uploaded, "abc"))
        await bus.follow(inbox.take, since=moment - timedelta(seconds=5))
        await bus.publish(uploaded("d"))
        await inbox.has("d")
        assert inbox.subjects == ["a", "b", "c", "d"]

    async def test_the_last_offset_is_that_of_the_newest_event(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        await bus.follow(inbox.take)
        await bus.publish(*map(uploaded, "abc"))
        await inbox.has("c")
        assert await bus.last_offset() == inbox.offsets[-1]

    async def test_the_last_offset_outlives_the_bus(self, footing: Footing, uploaded: Callable[[str], Event]) -> None:
        await footing.bus.publish(*map(uploaded, "abc"))
        before = await footing.bus.last_offset()
        bus = await footing.reopen()
        assert await bus.last_offset() == before > 0

    async def test_a_replayed_dead_letter_is_not_said_again_on_the_stream(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox, stream = Inbox(fails={"a": 1}), StreamInbox(project)
        await bus.follow(stream.take)
        await bus.consume(replace(queue, policy=ONCE), inbox)
        await bus.publish(uploaded("a"))
        await bus.replay((await self._dead_letter(bus, queue)).id)
        await inbox.has("a")
        await bus.publish(uploaded("end"))
        await stream.has("end")
        assert stream.subjects == ["a", "end"]

    async def test_what_cannot_be_decoded_does_not_stop_a_follower(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        follower = await bus.follow(inbox.take)
        await bus.publish_message(encode(uploaded("rubbish"))._replace(body=b"["))
        await bus.publish(uploaded("good"))
        await inbox.has("good")
        assert follower.alive

    async def test_a_closed_follower_hears_nothing_more(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        closed, open_ = StreamInbox(project), StreamInbox(project)
        follower = await bus.follow(closed.take)
        await bus.follow(open_.take)
        await follower.close()
        await bus.publish(uploaded("a"))
        await open_.has("a")
        assert (closed.subjects, follower.alive) == ([], False)

    # --- live ---

    async def test_transient_events_are_not_published(self, bus: Bus, project: str) -> None:
        with pytest.raises(InvalidInput, match="announce"):
            await bus.publish(ExecutionProgressed(subject="run", project=project, progress=0.5))

    async def test_a_listener_hears_what_fits_its_patterns(self, bus: Bus, project: str) -> None:
        heard: list[str] = []
        await bus.listen([f"execution.progressed.{project}.a", f"*.*.{project}.c"], lambda e: heard.append(e.subject))
        for run in "abc":
            bus.announce(ExecutionProgressed(subject=run, project=project, progress=0.5))
        await until(lambda: "c" in heard)
        assert heard == ["a", "c"]

    async def test_what_nobody_listens_to_is_gone(self, bus: Bus, project: str) -> None:
        heard: list[str] = []
        bus.announce(ExecutionProgressed(subject="before", project=project, progress=0.5))
        await bus.listen([f"#.{project}.#"], lambda event: heard.append(event.subject))
        bus.announce(ExecutionProgressed(subject="after", project=project, progress=0.5))
        await until(lambda: "after" in heard)
        assert heard[-1:] == ["after"]

    async def test_the_newest_is_kept_where_a_listener_is_slow(self, bus: Bus, project: str) -> None:
        heard: list[float] = []

        def listener(event: Event) -> None:
            assert isinstance(event, ExecutionProgressed)
            heard.append(event.progress)

        await bus.listen([f"#.{project}.#"], listener, limit=10)
        for number in range(1000):
            bus.announce(ExecutionProgressed(subject="run", project=project, progress=number / 1000))
        await until(lambda: 0.999 in heard)
        assert heard == sorted(heard)

    async def test_a_listener_that_raises_hears_the_next_event(self, bus: Bus, project: str) -> None:
        heard: list[str] = []

        def listener(event: Event) -> None:
            heard.append(event.subject)
            raise ValueError("no luck")

        subscription = await bus.listen([f"#.{project}.#"], listener)
        for run in "ab":
            bus.announce(ExecutionProgressed(subject=run, project=project, progress=0.5))
        await until(lambda: heard == ["a", "b"])
        assert subscription.alive

    async def test_live_events_reach_neither_queue_nor_stream(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox, stream = Inbox(), StreamInbox(project)
        await bus.consume(replace(queue, bindings=(f"#.{project}.#",)), inbox)
        await bus.follow(stream.take)
        bus.announce(ExecutionProgressed(subject="run", project=project, progress=0.5))
        await bus.publish(uploaded("end"))
        await inbox.has("end")
        await stream.has("end")
        assert inbox.subjects == stream.subjects == ["end"]

    async def test_a_closed_listener_hears_nothing_more(self, bus: Bus, project: str) -> None:
        closed: list[str] = []
        open_: list[str] = []
        subscription = await bus.listen([f"#.{project}.#"], lambda event: closed.append(event.subject))
        await bus.listen([f"#.{project}.#"], lambda event: open_.append(event.subject))
        await subscription.close()
        bus.announce(ExecutionProgressed(subject="run", project=project, progress=0.5))
        await until(lambda: open_ == ["run"])
        assert closed == []

    # --- helpers ---

    async def _dead_letters(self, bus: Bus, queue: Queue) -> list[DeadLetter]:
        return [letter for letter in await bus.dead_letters(limit=10_000) if letter.queue == queue.name]

    async def _dead_letter(self, bus: Bus, queue: Queue) -> DeadLetter:
        """Waits for the first one of a queue."""
        async with asyncio.timeout(DEADLINE):
            while not (letters := await self._dead_letters(bus, queue)):
                await asyncio.sleep(0.01)
        return letters[0]

    async def _stats(self, bus: Bus, queue: Queue) -> QueueStats | None:
        return next((stats for stats in await bus.stats() if stats.name == queue.name), None)

    async def _waits(self, bus: Bus, queue: Queue, count: int) -> bool:
        stats = await self._stats(bus, queue)
        return stats is not None and stats.waiting == count

    async def _is_gone(self, bus: Bus, queue: Queue) -> bool:
        return await self._stats(bus, queue) is None
