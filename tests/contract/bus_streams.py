"""The stream of all events, and live ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from messages.base import Event, Kind, worker_inbox
from messages.gateways import GatewayStarted
from messages.runs import RunAssigned, RunHandedOver, RunProgressed
from messages.wire import encode
from shared.bus.base import Bus, Queue
from tests.contract.bus_tools import (
    ONCE,
    BusTests,
    Footing,
    Inbox,
    StreamInbox,
    numbers,
    offset_of_one_more,
    until,
)
from tests.named import A, B, C
from tests.unit.memory_platform import WORK
from voxloom.errors import BusUnavailable, InvalidInput
from voxloom.models import utc_now


def headers_only(event: Event) -> tuple[Any, ...]:
    return event.kind, event.id, event.source, event.subject, event.time, event.project, event.attempt


class StreamBehaviour(BusTests):
    """What needs no settling."""

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

    async def test_what_one_worker_alone_is_told_is_not_on_the_stream(self, bus: Bus, project: str) -> None:
        # Given somebody who follows, and somebody who reads from the store later
        inbox, late = StreamInbox(project), StreamInbox(project)
        before = await offset_of_one_more(bus)
        follower = await bus.follow(inbox.take)
        # When a run is assigned, and its worker is told the work
        facts: dict[str, Any] = {"subject": A, "project": project, "epoch": 1, "worker_id": "w", "device_class": "cpu"}
        assigned = RunAssigned(**facts, incarnation=project)
        queue = Queue(f"worker.{project}", (worker_inbox(project),), ONCE)
        own = Inbox()
        await bus.consume(queue, own)
        await bus.publish(assigned, RunHandedOver(**facts, incarnation=project, work=WORK))
        await follower.catch_up()
        # Then it alone hears that
        await own.has(A)
        await bus.follow(late.take, after=before)
        await late.has(A)
        assert (inbox.events, late.events, len(own.events)) == ([assigned], [assigned], 1)

    async def test_who_catches_up_has_heard_all_that_anybody_had_published(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        follower = await bus.follow(inbox.take)
        for number in range(50):
            await bus.publish(uploaded(str(number)))
            await follower.catch_up()
            assert inbox.subjects == numbers(0, number + 1)

    async def test_of_what_a_follower_does_not_want_it_knows_what_the_headers_say(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        # Given one who wants the data of one file, and one who wants all
        seen: list[Kind] = []

        def wanted(kind: Kind, subject: str) -> bool:
            seen.append(kind)
            return subject == "b"

        before, all_of_it, some = await offset_of_one_more(bus), StreamInbox(project), StreamInbox(project)
        await bus.follow(all_of_it.take)
        events = [uploaded(subject) for subject in "abc"]
        await bus.publish(*events)
        await all_of_it.has("c")
        # When both have heard of three files, the first from the store
        await bus.follow(some.take, after=before, wanted=wanted)
        await some.has("c")
        # Then it has all of them, in order, and the data of that one
        assert some.offsets == all_of_it.offsets
        assert [headers_only(one) for one in some.events] == [headers_only(one) for one in events]
        assert events[1] in some.events
        assert set(seen) <= {one.kind for one in [*events, GatewayStarted(subject="x")]}

    async def test_who_is_said_to_be_up_to_date_has_heard_all_that_anybody_had_published(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        follower = await bus.follow(inbox.take)
        for number in range(50):
            await bus.publish(uploaded(str(number)))
            if not follower.is_caught_up():
                await follower.catch_up()
            assert inbox.subjects == numbers(0, number + 1)
        await follower.close()
        assert not follower.is_caught_up()

    async def test_many_catch_up_at_once_while_others_publish(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        follower = await bus.follow(inbox.take)

        async def publish_and_see(subject: str) -> bool:
            await bus.publish(uploaded(subject))
            await follower.catch_up()
            return subject in inbox.subjects

        assert all(await asyncio.gather(*map(publish_and_see, numbers(0, 200))))

    async def test_a_closed_follower_catches_up_no_more(self, bus: Bus) -> None:
        follower = await bus.follow(StreamInbox("none").take)
        await follower.close()
        with pytest.raises(BusUnavailable):
            await follower.catch_up()

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
        before = await offset_of_one_more(footing.bus)
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
        # RabbitMQ's clock stays behind for long when the machine's is set forward, as after a pause of the machine.
        await bus.follow(inbox.take, since=moment - timedelta(days=1))
        await bus.publish(uploaded("d"))
        await inbox.has("d")
        assert inbox.subjects == ["a", "b", "c", "d"]

    async def test_offsets_grow_on_from_one_bus_to_the_next(self, footing: Footing) -> None:
        before = await offset_of_one_more(footing.bus)
        assert 0 < before < await offset_of_one_more(await footing.reopen())

    async def test_an_offset_that_never_was_means_from_now_on(
        self, bus: Bus, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox = StreamInbox(project)
        await bus.follow(inbox.take, after=await offset_of_one_more(bus) + 1_000_000)
        await bus.publish(uploaded("a"))
        await inbox.has("a")

    async def test_a_replayed_dead_letter_is_not_said_again_on_the_stream(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox, stream = Inbox(fails={"a": 1}), StreamInbox(project)
        await bus.follow(stream.take)
        await bus.consume(replace(queue, policy=ONCE), inbox)
        await bus.publish(uploaded("a"))
        await bus.replay((await self.dead_letter(bus, queue)).id)
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
            await bus.publish(RunProgressed(subject=A, project=project, progress=0.5))

    async def test_a_listener_hears_what_fits_its_patterns(self, bus: Bus, project: str) -> None:
        heard: list[str] = []
        await bus.listen(
            [f"execution.progressed.{project}.{A}", f"*.*.{project}.{C}"], lambda e: heard.append(e.subject)
        )
        for run in (A, B, C):
            bus.announce(RunProgressed(subject=run, project=project, progress=0.5))
        await until(lambda: C in heard)
        assert heard == [A, C]

    async def test_what_nobody_listens_to_is_gone(self, bus: Bus, project: str) -> None:
        heard: list[str] = []
        bus.announce(RunProgressed(subject=A, project=project, progress=0.5))
        await bus.listen([f"#.{project}.#"], lambda event: heard.append(event.subject))
        bus.announce(RunProgressed(subject=B, project=project, progress=0.5))
        await until(lambda: B in heard)
        assert heard[-1:] == [B]

    async def test_the_newest_is_kept_where_a_listener_is_slow(self, bus: Bus, project: str) -> None:
        heard: list[float] = []

        def listener(event: Event) -> None:
            assert isinstance(event, RunProgressed)
            heard.append(event.progress)

        await bus.listen([f"#.{project}.#"], listener, limit=10)
        for number in range(1000):
            bus.announce(RunProgressed(subject=A, project=project, progress=number / 1000))
        await until(lambda: 0.999 in heard)
        assert heard == sorted(heard)

    async def test_a_listener_that_raises_hears_the_next_event(self, bus: Bus, project: str) -> None:
        heard: list[str] = []

        def listener(event: Event) -> None:
            heard.append(event.subject)
            raise ValueError("no luck")

        subscription = await bus.listen([f"#.{project}.#"], listener)
        for run in (A, B):
            bus.announce(RunProgressed(subject=run, project=project, progress=0.5))
        await until(lambda: heard == [A, B])
        assert subscription.alive

    async def test_live_events_reach_neither_queue_nor_stream(
        self, bus: Bus, queue: Queue, uploaded: Callable[[str], Event], project: str
    ) -> None:
        inbox, stream = Inbox(), StreamInbox(project)
        await bus.consume(replace(queue, bindings=(f"#.{project}.#",)), inbox)
        await bus.follow(stream.take)
        bus.announce(RunProgressed(subject=A, project=project, progress=0.5))
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
        bus.announce(RunProgressed(subject=A, project=project, progress=0.5))
        await until(lambda: open_ == [A])
        assert closed == []
